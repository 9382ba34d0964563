"""One level of a slide that is sliced like an array."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.slides.pixels import Pixels
from napari_mtlpath.slides.pyramid import LevelInfo


class _Readable(Protocol):
    levels: tuple[LevelInfo, ...]

    def read_region(self, y: int, x: int, height: int, width: int, *, level: int = 0) -> Pixels: ...


class LevelArray:
    """A level [y, x, 3] of uint8; slicing reads pixels and blocks meanwhile.

    Parameters
    ----------
    slide
        An open slide.
    level
        Index into its levels.
    """

    def __init__(self, slide: _Readable, level: int) -> None:
        info = slide.levels[level]
        self._slide = slide
        self._level = level
        self.shape = (info.height, info.width, 3)
        self.dtype = np.dtype(np.uint8)
        self.ndim = 3

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[np.uint8]:
        """Read the rectangle of two slices with steps; further indices apply to the result."""
        rows, columns, *rest = index if isinstance(index, tuple) else (index, slice(None))
        y0, y1, step_y = rows.indices(self.shape[0])
        x0, x1, step_x = columns.indices(self.shape[1])
        if step_y < 1 or step_x < 1:
            raise IndexError(f"Slices of a slide's level go forwards; found steps {step_y}, {step_x}.")
        region = self._slide.read_region(y0, x0, max(0, y1 - y0), max(0, x1 - x0), level=self._level)
        return region.array[(slice(None, None, step_y), slice(None, None, step_x), *rest)]
