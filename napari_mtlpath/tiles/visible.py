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
    inside = grid.tiles_in(*view)
    y0, x0, y1, x1 = view
    margin = ring * grid.side
    around = np.setdiff1d(grid.tiles_in(y0 - margin, x0 - margin, y1 + margin, x1 + margin), inside)
    centre = _centre(grid, view)
    ordered = _coarse_to_fine(grid, inside[wanted[inside]], centre)
    outer = _nearest_first(grid, around[wanted[around]], centre)
    return [*ordered.tolist(), *outer.tolist()]


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
    distance = np.maximum(np.abs(rows - row), np.abs(columns - column))
    # Within a ring in reading order, so that neighbours share the file's tiles.
    return remaining[np.lexsort((remaining, np.round(distance)))].tolist()


def _centre(grid: TileGrid, view: tuple[float, float, float, float]) -> tuple[float, float]:
    """Return the middle of the part of a view that lies on the slide, in tiles."""
    y0, x0, y1, x1 = view
    low_y, high_y = np.clip([y0, y1], 0, grid.slide_height)
    low_x, high_x = np.clip([x0, x1], 0, grid.slide_width)
    return (low_y + high_y) / 2 / grid.side - 0.5, (low_x + high_x) / 2 / grid.side - 0.5


def _coarse_to_fine(grid: TileGrid, indices: NDArray[np.int64], centre: tuple[float, float]) -> NDArray[np.int64]:
    rows, columns = np.divmod(indices, max(1, grid.columns))
    stage = np.full(indices.shape, len(STRIDES), dtype=np.int64)
    for position, stride in reversed(list(enumerate(STRIDES))):
        stage[(rows % stride == 0) & (columns % stride == 0)] = position
    return indices[np.lexsort((indices, _distance(rows, columns, centre), stage))]


def _nearest_first(grid: TileGrid, indices: NDArray[np.int64], centre: tuple[float, float]) -> NDArray[np.int64]:
    rows, columns = np.divmod(indices, max(1, grid.columns))
    return indices[np.lexsort((indices, _distance(rows, columns, centre)))]


def _distance(rows: NDArray[np.int64], columns: NDArray[np.int64], centre: tuple[float, float]) -> NDArray[np.float64]:
    return np.hypot(rows - centre[0], columns - centre[1])
