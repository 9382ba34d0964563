"""What is known of each tile of a slide, side by side: the rows that tables and annotations are written from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.results import SlideResult
from napari_mtlpath.tiles.grid import TileGrid


@dataclass(frozen=True, kw_only=True, eq=False)
class TileColumns:
    """The known tiles of a slide and one column of values per task and kind.

    Attributes
    ----------
    grid
        The grid that the indices number.
    indices
        Known tiles, ascending, [n].
    values
        By column name such as ``"basophils: routing"``: float values [n]; NaN where a value is unknown.
    """

    grid: TileGrid
    indices: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]


def tile_columns(result: SlideResult) -> TileColumns:
    """Return the known tiles of a result; a tile is known when any of its heatmaps has a value there.

    Raises
    ------
    ValueError
        If the result has no heatmap.
    """
    if not result.heatmaps:
        raise ValueError(
            "The result has no heatmap, so there is no tile to write. Analyse the slide with a model first."
        )
    grid = next(iter(result.heatmaps.values())).grid
    flat = {f"{task}: {kind}": heatmap.values.ravel() for (task, kind), heatmap in result.heatmaps.items()}
    known = np.logical_or.reduce([np.isfinite(column) for column in flat.values()])
    indices = np.flatnonzero(known).astype(np.int64)
    values = {name: column[indices].astype(np.float64) for name, column in flat.items()}
    values |= {
        f"{task}: selected": chosen.ravel()[indices].astype(np.float64) for task, chosen in result.selected.items()
    }
    return TileColumns(grid=grid, indices=indices, values=values)
