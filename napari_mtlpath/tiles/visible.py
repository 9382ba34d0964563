"""In which order tiles are looked at: the middle of the view first, coarse before fine, the surroundings last."""

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.tiles.grid import TileGrid

STRIDES = (8, 4, 2, 1)
"""Sub-grids from coarse to fine: every eighth tile first, so that a wide view shows its pattern early."""


def order_tiles(
    grid: TileGrid,
    known: NDArray[np.bool_],
    view: tuple[float, float, float, float],
    tissue: NDArray[np.bool_],
    *,
    ring: int = 1,
) -> list[int]:
    """Return the tiles worth computing for a view, most wanted first.

    Parameters
    ----------
    grid
        The model's tiles on the slide.
    known
        Tiles that need no work, [row, column].
    view
        The visible rectangle (y0, x0, y1, x1) in level-0 pixels.
    tissue
        Tiles on tissue, [row, column].
    ring
        How many tiles around the view to add at the end.
    """
    wanted = (tissue & ~known).ravel()
    y0, x0, y1, x1 = view
    margin = ring * grid.side
    near = grid.tiles_in(y0 - margin, x0 - margin, y1 + margin, x1 + margin)
    near = near[wanted[near]]
    rows, columns = np.divmod(near, max(1, grid.columns))
    in_view = np.zeros(len(grid), dtype=np.bool_)
    in_view[grid.tiles_in(*view)] = True
    stage = np.where(in_view[near], _stages(rows, columns), len(STRIDES))
    row, column = _centre(grid, view)
    # One number per tile: a distance is always less than the step between stages.
    urgency = stage * float(grid.rows + grid.columns + 2 * len(STRIDES)) + np.hypot(rows - row, columns - column)
    return near[np.argsort(urgency, kind="stable")].tolist()


def order_rest(
    grid: TileGrid,
    known: NDArray[np.bool_],
    view: tuple[float, float, float, float] | None,
    tissue: NDArray[np.bool_],
) -> list[int]:
    """Return all tiles not yet known on tissue, by growing rings around a view (or around the slide's middle)."""
    remaining = np.flatnonzero((tissue & ~known).ravel())
    whole = (0.0, 0.0, float(grid.slide_height), float(grid.slide_width))
    row, column = _centre(grid, view or whole)
    rows, columns = np.divmod(remaining, max(1, grid.columns))
    rings = np.rint(np.maximum(np.abs(rows - row), np.abs(columns - column))).astype(np.int32)
    # Within a ring in reading order, so that neighbours share the file's tiles.
    return remaining[np.argsort(rings, kind="stable")].tolist()


def _centre(grid: TileGrid, view: tuple[float, float, float, float]) -> tuple[float, float]:
    """Return the middle of the part of a view that lies on the slide, in tiles."""
    y0, x0, y1, x1 = view
    low_y, high_y = np.clip([y0, y1], 0, grid.slide_height)
    low_x, high_x = np.clip([x0, x1], 0, grid.slide_width)
    return (low_y + high_y) / 2 / grid.side - 0.5, (low_x + high_x) / 2 / grid.side - 0.5


def _stages(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each tile the first of the sub-grids that it belongs to."""
    stages = np.zeros(rows.shape, dtype=np.int64)
    for stride in STRIDES[:-1]:
        stages += (rows % stride != 0) | (columns % stride != 0)
    return stages
