"""The grid of model tiles on one slide: indices, corners and centres, in whole pixels so that nothing drifts."""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import SlidePixels

SNAP_TOLERANCE = 0.02  # a tile 2 % larger or smaller shows the same cells; an aligned one is read up to 3.7 x faster


@dataclass(frozen=True, kw_only=True)
class TileGrid:
    """Square tiles side by side from the slide's upper left corner; a tile belongs when its centre is on the slide.

    A grid that is `covering` has more where the slide ends within a tile: every tile with a pixel on the slide.

    Tiles are numbered row by row from 0. All geometry is integer arithmetic on level-0 pixels: no accumulated
    rounding on a slide of any size.

    Attributes
    ----------
    slide_height, slide_width
        Size of level 0 in pixels.
    mpp
        Microns per level-0 pixel, (y, x).
    side
        Side of a tile in level-0 pixels.
    spec
        The tile that the model was made for.
    covering
        Whether a tile belongs as soon as the centre of one of its ``spec.tile_px`` pixels is on the slide.

    Examples
    --------
    >>> from napari_mtlpath.units import Microns, TilePixels
    >>> spec = TileSpec(tile_um=Microns(36.0), tile_px=TilePixels(96))
    >>> grid = TileGrid.for_slide(height=1000, width=1500, mpp=(0.375, 0.375), spec=spec)
    >>> grid.side, grid.rows, grid.columns
    (96, 10, 16)
    >>> grid.corner(grid.index(2, 3))
    (192, 288)
    """

    slide_height: SlidePixels
    slide_width: SlidePixels
    mpp: tuple[float, float]
    side: SlidePixels
    spec: TileSpec
    covering: bool = False

    def __post_init__(self) -> None:
        if self.slide_height < 1 or self.slide_width < 1 or self.side < 1:
            raise ValueError(
                f"A grid needs a slide and a side of at least 1 px; found a slide of {self.slide_height} x "
                f"{self.slide_width} px and a side of {self.side} px."
            )
        if not all(math.isfinite(value) and value > 0 for value in self.mpp):
            raise ValueError(f"Microns per pixel must be positive; found {self.mpp}. Set the slide's resolution.")

    @classmethod
    def for_slide(
        cls,
        *,
        height: int,
        width: int,
        mpp: tuple[float, float],
        spec: TileSpec,
        native_tile: tuple[int, int] | None = None,
        covering: bool = False,
    ) -> Self:
        """Lay the grid of a tile spec over a slide.

        Parameters
        ----------
        height, width
            Size of level 0 in pixels.
        mpp
            Microns per level-0 pixel, (y, x); the side follows their mean.
        spec
            The tile that the model was made for.
        native_tile
            Size (height, width) of the file's own tiles: a side within 2 % of a multiple of it becomes that multiple.
        covering
            Whether no pixel of the slide may be left out.
        """
        if not all(math.isfinite(value) and value > 0 for value in mpp):
            raise ValueError(f"Microns per pixel must be positive; found {mpp}. Set the slide's resolution.")
        side = max(1, round(spec.tile_um / (sum(mpp) / 2)))
        if native_tile is not None:
            side = _snapped(side, math.lcm(*native_tile))
        return cls(
            slide_height=SlidePixels(height),
            slide_width=SlidePixels(width),
            mpp=mpp,
            side=SlidePixels(side),
            spec=spec,
            covering=covering,
        )

    @cached_property
    def rows(self) -> int:
        """Number of tile rows: 0 where the slide is lower than half a tile, unless the grid is covering."""
        return self._along(self.slide_height)

    @cached_property
    def columns(self) -> int:
        """Number of tile columns: 0 where the slide is narrower than half a tile, unless the grid is covering."""
        return self._along(self.slide_width)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns: the shape of a heatmap."""
        return self.rows, self.columns

    @property
    def key(self) -> str:
        """Short SHA-256 digest of where the tiles sit on the slide; part of every feature key."""
        text = f"{int(self.slide_height)}|{int(self.slide_width)}|{int(self.side)}{'|covering' * self.covering}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return self.rows * self.columns

    def index(self, row: int, column: int) -> int:
        """Return the index of the tile in a row and column.

        Raises
        ------
        IndexError
            If there is no such tile.
        """
        if not (0 <= row < self.rows and 0 <= column < self.columns):
            raise IndexError(f"The grid has {self.rows} rows and {self.columns} columns; found ({row}, {column}).")
        return row * self.columns + column

    def row_column(self, index: int) -> tuple[int, int]:
        """Return the row and column of a tile."""
        if not 0 <= index < len(self):
            raise IndexError(f"The grid has {len(self)} tiles; found index {index}.")
        return divmod(index, self.columns)

    def corner(self, index: int) -> tuple[int, int]:
        """Return the upper left level-0 pixel (y, x) of a tile."""
        row, column = self.row_column(index)
        return row * self.side, column * self.side

    def centres_um(self, indices: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return tile centres in microns, [n, 2] as (y, x), from the centre of the slide's first pixel."""
        return (self._corners(indices) + (self.side - 1) / 2) * np.asarray(self.mpp)

    def corners_um(self, indices: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the tiles' upper left corners in microns, [n, 2] as (y, x), from the slide's upper left corner."""
        return self._corners(indices) * np.asarray(self.mpp)

    def tiles_in(self, y0: float, x0: float, y1: float, x1: float) -> NDArray[np.int64]:
        """Return the ascending indices of tiles that share area with a rectangle.

        Parameters
        ----------
        y0, x0, y1, x1
            Edges in level-0 pixels, where pixel 0 spans 0 to 1; may lie outside the slide, may be infinite.
        """
        first_row, end_row = _span(y0, y1, side=self.side, count=self.rows)
        first_column, end_column = _span(x0, x1, side=self.side, count=self.columns)
        rows = np.arange(first_row, end_row, dtype=np.int64)
        columns = np.arange(first_column, end_column, dtype=np.int64)
        return (rows[:, None] * self.columns + columns[None, :]).ravel()

    def _along(self, length: int) -> int:
        if not self.covering:
            return _tiles_along(length, self.side)
        pixels = int(self.spec.tile_px)
        return -(-pixels_along(length, self.side, pixels) // pixels)

    def _corners(self, indices: NDArray[np.integer]) -> NDArray[np.int64]:
        rows, columns = np.divmod(np.asarray(indices, dtype=np.int64), max(1, self.columns))
        return np.stack([rows, columns], axis=-1) * int(self.side)


def _snapped(side: int, native: int) -> int:
    multiple = max(1, round(side / native)) * native
    return multiple if abs(multiple - side) <= SNAP_TOLERANCE * side else side


def _tiles_along(length: int, side: int) -> int:
    """Count the tiles whose centre, (2 r + 1) side / 2, lies before the edge."""
    return (2 * length - 1 + side) // (2 * side)


def pixels_along(length: int, side: int, pixels: int) -> int:
    """Count the pixels, so many to a tile's side, whose centre, (2 i + 1) side / 2 pixels, lies before the edge.

    Examples
    --------
    >>> pixels_along(100, 64, 32), pixels_along(1, 64, 32)
    (50, 0)
    """
    return max(0, -((int(side) - 2 * length * pixels) // (2 * int(side))))


def _span(low: float, high: float, *, side: int, count: int) -> tuple[int, int]:
    """Return the first tile and the one after the last tile that share length with low..high."""
    if not high > low or count == 0:  # also true where an edge is not a number
        return 0, 0
    end = count * side
    if high <= 0 or low >= end:
        return 0, 0
    return math.floor(max(low, 0.0) / side), math.ceil(min(high, float(end)) / side)
