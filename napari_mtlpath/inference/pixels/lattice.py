"""Where a pixel model's answers lie on a slide: cores side by side, and the wider windows that the network sees."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.tiles.grid import TileGrid, pixels_along
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import Microns, TilePixels

HALVINGS = 4
"""A core can be halved so many times without remainder: levels 0 to 4 of what is shown are whole pixels."""

MARGIN_SHARE = 1 / 16
"""A window reaches at least so far beyond its core, in shares of its side: the ground where neighbours blend."""


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """The grid of cores that a pixel model answers for, and its pixels.

    A network sees a window of ``tile_px`` pixels. Its answer is used for the core in the middle, and fades out over the
    margin around it while the neighbour's fades in. All cores' pixels form one lattice over the slide, so that nothing
    is resampled when answers are put side by side.

    Attributes
    ----------
    grid
        The cores: their tiles are `core_px` pixels of the lattice wide.
    margin_px
        How far a window reaches beyond its core on each side, in pixels of the lattice.

    Examples
    --------
    >>> spec = TileSpec(tile_um=Microns(64.0), tile_px=TilePixels(128))
    >>> lattice = Lattice.for_slide(height=1000, width=2000, mpp=(0.25, 0.25), spec=spec)
    >>> lattice.core_px, lattice.margin_px, lattice.window_px, lattice.grid.side, lattice.step
    (112, 8, 128, 224, 2.0)
    >>> lattice.window(0)
    (-16.0, -16.0, 256.0)
    """

    grid: TileGrid
    margin_px: int

    @classmethod
    def for_slide(cls, *, height: int, width: int, mpp: tuple[float, float], spec: TileSpec) -> "Lattice":
        """Lay the lattice of a model's tiles over a slide.

        Parameters
        ----------
        height, width, mpp
            The slide's size in level-0 pixels, and microns per pixel (y, x).
        spec
            The tile that the model was made for: one window.

        Raises
        ------
        ValueError
            If a tile has an odd number of pixels, or too few.
        """
        core = core_pixels(spec.tile_px)
        cut = TileSpec(
            tile_um=Microns(spec.tile_um * core / spec.tile_px), tile_px=TilePixels(core), resampling=spec.resampling
        )
        # Not snapped to the file's own tiles: a core of another size would show other pixels than the model's.
        # Covering: what is answered pixel by pixel is answered up to the slide's edge.
        grid = TileGrid.for_slide(height=height, width=width, mpp=mpp, spec=cut, covering=True)
        return cls(grid=grid, margin_px=(spec.tile_px - core) // 2)

    @property
    def core_px(self) -> int:
        """Side of a core in pixels of the lattice."""
        return int(self.grid.spec.tile_px)

    @property
    def window_px(self) -> int:
        """Side of a window in pixels of the lattice: what the network sees."""
        return self.core_px + 2 * self.margin_px

    @property
    def step(self) -> float:
        """Level-0 pixels per pixel of the lattice."""
        return self.grid.side / self.core_px

    @property
    def pixel_um(self) -> tuple[float, float]:
        """Microns per pixel of the lattice, (y, x)."""
        return self.step * self.grid.mpp[0], self.step * self.grid.mpp[1]

    @property
    def pixel_mm2(self) -> float:
        """Area of a pixel of the lattice in square millimetres."""
        return self.pixel_um[0] * self.pixel_um[1] / 1e6

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the lattice's pixels."""
        return self.grid.rows * self.core_px, self.grid.columns * self.core_px

    @property
    def on_slide(self) -> tuple[int, int]:
        """Rows and columns of the lattice's pixels whose centre is on the slide: the last cores reach beyond it."""
        grid, pixels = self.grid, self.core_px
        return pixels_along(grid.slide_height, grid.side, pixels), pixels_along(grid.slide_width, grid.side, pixels)

    def window(self, index: int) -> tuple[float, float, float]:
        """Return the upper left corner (y, x) and the side of a core's window in level-0 pixels."""
        y, x = self.grid.corner(index)
        margin = self.margin_px * self.step
        return y - margin, x - margin, self.window_px * self.step

    def inside(self, index: int) -> tuple[int, int]:
        """Return how many rows and columns of a core's pixels have their centre on the slide."""
        row, column = self.grid.row_column(index)
        height, width = self.on_slide
        return min(self.core_px, height - row * self.core_px), min(self.core_px, width - column * self.core_px)

    def pixel_at(self, y: float | int, x: float | int) -> tuple[int, int] | None:
        """Return the lattice's pixel (row, column) that holds a place in level-0 pixels, or None outside the slide.

        The slide's first pixel is centred at 0, so that it spans -1/2 to 1/2.
        """
        row, column = math.floor((y + 0.5) / self.step), math.floor((x + 0.5) / self.step)
        rows, columns = self.on_slide
        return (row, column) if 0 <= row < rows and 0 <= column < columns else None

    def around(self, index: int) -> list[tuple[int, int, int]]:
        """Return the cores that touch a core, itself among them, as (row step, column step, index)."""
        row, column = self.grid.row_column(index)
        rows, columns = self.grid.shape
        return [
            (down, right, (row + down) * columns + column + right)
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
            if 0 <= row + down < rows and 0 <= column + right < columns
        ]

    def touched(self, indices: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the cores whose blended answer depends on these windows, ascending."""
        near = np.zeros(self.grid.shape, dtype=np.bool_)
        rows, columns = np.divmod(np.asarray(indices, dtype=np.int64), max(1, self.grid.columns))
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                row, column = rows + down, columns + right
                within = (row >= 0) & (row < self.grid.rows) & (column >= 0) & (column < self.grid.columns)
                near[row[within], column[within]] = True
        return np.flatnonzero(near).astype(np.int64)


def core_pixels(tile_px: int) -> int:
    """Return the side of the core within a window of `tile_px` pixels: the largest that leaves a margin and halves.

    Raises
    ------
    ValueError
        If there is none.

    Examples
    --------
    >>> core_pixels(256), core_pixels(224), core_pixels(96)
    (224, 192, 80)
    """
    unit = 2**HALVINGS
    core = unit * math.floor((tile_px - 2 * max(1, math.floor(tile_px * MARGIN_SHARE))) / unit)
    if tile_px % 2 or core < unit:
        raise ValueError(
            f"A pixel model needs tiles of an even number of pixels, at least {unit + 2}; found {tile_px}. "
            "Train it with another tile_px."
        )
    return core
