"""What a heatmap says at a place on the slide."""

import math
from typing import TYPE_CHECKING

from napari_mtlpath.session.overlay import ColourScale, OverlayChoice, chosen_heatmap
from napari_mtlpath.session.wording import number_words

if TYPE_CHECKING:
    from napari_mtlpath.inference.heatmap import Heatmap
    from napari_mtlpath.inference.results import SlideResult


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


def words_under(result: "SlideResult | None", choice: OverlayChoice, scale: ColourScale, y: float, x: float) -> str:
    """Return in words what is painted at a place in level-0 pixels, tile by tile or pixel by pixel.

    Parameters
    ----------
    result
        What is known; None before anything is.
    choice, scale
        What is painted, and what its colours stand for.
    y, x
        The place; the slide's first pixel is centred at 0.
    """
    heatmap = chosen_heatmap(result, choice)
    if heatmap is not None:
        value = value_at(heatmap, y, x)
        return "not analysed" if value is None else number_words(value, scale)
    painting = result.painting if result is not None else None
    if painting is None or choice.task is None or (choice.task, choice.kind.value) not in painting.offered:
        return ""
    from napari_mtlpath.inference.pixels.painting import PaintKind

    return painting.words_at(choice.task, PaintKind(choice.kind.value), y, x)
