"""Whether a faster way of computing an encoder gives the same features, measured on real tissue."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.slides.resample import resize

TILES_PER_SIDE = 4
MIN_COSINE = 0.999
"""Least cosine between a tile's fast and its exact features."""

MIN_CENTRED_COSINE = 0.99
"""The same after the mean feature is taken away: what is left is what tells tiles apart."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far fast features agree with exact ones.

    Attributes
    ----------
    cosine, centred
        Least cosine over the tiles, of the features and of their differences from the exact ones' mean; NaN where a
        feature is not finite.
    """

    cosine: float
    centred: float

    @property
    def enough(self) -> bool:
        """Whether the fast features may stand for the exact ones; False for NaN."""
        return self.cosine >= MIN_COSINE and self.centred >= MIN_CENTRED_COSINE

    def __str__(self) -> str:
        return f"a cosine of {self.cosine:.5f}, {self.centred:.5f} after the mean is taken away"


def real_tiles(side: int) -> NDArray[np.uint8]:
    """Return 16 tiles [tile, side, side, 3] cut from the photographed section that scikit-image brings along."""
    import skimage.data

    image = np.asarray(skimage.data.immunohistochemistry(), np.uint8)
    whole = min(image.shape[:2])
    cut = min(side, whole // 2)
    corners = np.linspace(0, whole - cut, TILES_PER_SIDE).astype(int).tolist()
    tiles = [image[y : y + cut, x : x + cut] for y in corners for x in corners]
    if cut != side:
        box = (0.0, 0.0, float(cut), float(cut))
        tiles = [resize(tile, box=box, height=side, width=side) for tile in tiles]
    return np.stack(tiles)


def agreement(exact: NDArray[np.float32], fast: NDArray[np.float32]) -> Agreement:
    """Compare features [tile, feature] row by row.

    Examples
    --------
    >>> exact = np.eye(3, 5, dtype=np.float32)
    >>> agreement(exact, exact * 1.001).enough, agreement(exact, exact[::-1]).enough
    (True, False)
    """
    if exact.shape != fast.shape or not np.isfinite(fast).all():
        return Agreement(cosine=math.nan, centred=math.nan)
    mean = exact.mean(axis=0)
    return Agreement(cosine=_least_cosine(exact, fast), centred=_least_cosine(exact - mean, fast - mean))


def _least_cosine(exact: NDArray[np.float32], fast: NDArray[np.float32]) -> float:
    product = (exact * fast).sum(axis=1, dtype=np.float64)
    lengths = np.linalg.norm(exact.astype(np.float64), axis=1) * np.linalg.norm(fast.astype(np.float64), axis=1)
    same = (exact == fast).all(axis=1)  # tiles without any feature agree, too
    return float(np.where(same, 1.0, product / np.maximum(lengths, np.finfo(np.float64).tiny)).min())
