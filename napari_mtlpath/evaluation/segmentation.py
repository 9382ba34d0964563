"""How well masks overlap: counts per tile, and Dice with its interval over tiles."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer
from numpy.typing import NDArray

from napari_mtlpath.evaluation.intervals import Interval, interval


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlap:
    """Pixels of each class but the background, per tile.

    Attributes
    ----------
    both, said, true
        Pixels that prediction and truth share, that the prediction has, that the truth has, [tile, class].
    """

    both: Int[NDArray, "tile class"]
    said: Int[NDArray, "tile class"]
    true: Int[NDArray, "tile class"]

    def dice(self, weights: Float[NDArray, "draw tile"] | None = None) -> Float[NDArray, "draw class"]:
        """Return the Dice similarity coefficient of each class over all pixels of all tiles, 0 to 1.

        Parameters
        ----------
        weights
            How often each tile counts, for each of several resamples; once in one resample if not given.

        Returns
        -------
        NaN for a class that neither the truth nor the prediction has.
        """
        drawn = np.ones((1, len(self.both))) if weights is None else weights
        both, sizes = drawn @ self.both, drawn @ (self.said + self.true)
        with np.errstate(invalid="ignore"):
            return 2 * both / sizes


def overlap(
    said: Integer[NDArray, "tile y x"], true: Integer[NDArray, "tile y x"], *, classes: int, unknown: int
) -> Overlap:
    """Count the pixels of classes 1 to `classes` - 1 in predicted and true masks; `unknown` pixels count nowhere.

    Examples
    --------
    >>> found = overlap(np.array([[[1, 1, 0]]]), np.array([[[1, 0, 9]]]), classes=2, unknown=9)
    >>> found.dice().round(3).tolist()
    [[0.667]]
    """
    known = true != unknown
    counts = [
        [((said == c) & (true == c)).sum((1, 2)), ((said == c) & known).sum((1, 2)), (true == c).sum((1, 2))]
        for c in range(1, classes)
    ]
    both, predicted, present = np.moveaxis(np.array(counts), 0, 2)
    return Overlap(both=both, said=predicted, true=present)


def mean_dice(found: Overlap, weights: Float[NDArray, "draw tile"] | None = None) -> Float[NDArray, " draw"]:
    """Return the mean Dice over the classes that are there, for each resample."""
    return np.asarray(np.nanmean(found.dice(weights), axis=1))


def tile_draws(groups: NDArray, *, draws: int = 500, seed: int = 0) -> Float[NDArray, "draw tile"]:
    """Return how often each tile counts in resamples of the groups (patients, slides) that the tiles are of."""
    random = np.random.default_rng(seed)
    names, numbers = np.unique(groups, return_inverse=True)
    counts = np.stack(
        [np.bincount(random.integers(0, len(names), len(names)), minlength=len(names)) for _ in range(draws)]
    )
    return counts[:, numbers].astype(np.float64)


def dice_interval(found: Overlap, weights: Float[NDArray, "draw tile"]) -> Interval:
    """Return the mean Dice over the classes with its 95 % interval over resamples."""
    return interval(float(mean_dice(found)[0]), mean_dice(found, weights))
