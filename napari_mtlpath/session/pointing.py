"""What a heatmap says at a place on the slide."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_mtlpath.inference.heatmap import Heatmap


def value_at(heatmap: "Heatmap", y: float, x: float) -> float | None:
    """Return a heatmap's raw value at a place, or None outside the grid and where nothing is known.

    Parameters
    ----------
    heatmap
        One value per tile.
    y, x
        The place in level-0 pixels; the slide's first pixel is centred at 0.
    """
    side = heatmap.grid.side
    row, column = math.floor((y + 0.5) / side), math.floor((x + 0.5) / side)
    rows, columns = heatmap.values.shape
    if not (0 <= row < rows and 0 <= column < columns):
        return None
    value = float(heatmap.values[row, column])
    return value if math.isfinite(value) else None
