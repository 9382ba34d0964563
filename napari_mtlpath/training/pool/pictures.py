"""Pictures of any size, and the square tiles that are cut from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})


@runtime_checkable
class Pictures(Protocol):
    """A sequence of RGB pictures, uint8 [y, x, 3], which may differ in size."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        """Return one picture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureFiles:
    """Pictures that are read from their files whenever they are asked for, so that a pool may exceed the memory.

    Attributes
    ----------
    paths
        One file per picture.
    """

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.paths)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        """Return one picture; ValueError naming the file where it cannot be read."""
        path = self.paths[index]
        try:
            with Image.open(path) as image:
                return np.asarray(image.convert("RGB"))
        except (OSError, Image.DecompressionBombError) as error:
            raise ValueError(f"Picture '{path}' cannot be read ({error}). Take it out of the pool.") from error


def read_tiles(
    pictures: Pictures,
    chosen: Sequence[int],
    *,
    tile_px: int,
    generator: torch.Generator | None = None,
) -> UInt8[Tensor, "tile y x 3"]:
    """Return the chosen pictures as tiles: the largest square in each, brought to `tile_px`.

    Parameters
    ----------
    pictures
        Where from.
    chosen
        Indices, in the order of the result.
    tile_px
        Side of a tile.
    generator
        Draws where the square lies in a picture that is not square (Mormont et al., 2021, section IV-F); without one it
        lies in the middle.
    """
    tiles = np.empty((len(chosen), tile_px, tile_px, 3), dtype=np.uint8)
    for place, index in enumerate(chosen):
        tiles[place] = _square(pictures[index], tile_px, generator)
    return torch.from_numpy(tiles)


def square_around(image: NDArray[np.uint8], *, y: float, x: float, side: float) -> NDArray[np.uint8]:
    """Return a copy of the square of `side` pixels around a point, moved inside the image where it reaches over.

    Examples
    --------
    >>> square_around(np.zeros((20, 30, 3), np.uint8), y=2.0, x=15.0, side=10.0).shape
    (10, 10, 3)
    """
    height, width = image.shape[:2]
    length = min(round(side), height, width)
    top = min(max(round(y - length / 2), 0), height - length)
    left = min(max(round(x - length / 2), 0), width - length)
    return image[top : top + length, left : left + length].copy()


def _square(picture: NDArray[np.uint8], tile_px: int, generator: torch.Generator | None) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    side = min(height, width)
    spare = max(height, width) - side
    start = spare // 2 if generator is None else int(torch.randint(spare + 1, (1,), generator=generator))
    square = picture[start : start + side] if height > width else picture[:, start : start + side]
    if side == tile_px:
        return square
    resized = Image.fromarray(np.ascontiguousarray(square)).resize((tile_px, tile_px), Image.Resampling.BILINEAR)
    return np.asarray(resized)
