"""Colours that can be told apart in napari's dark and light themes."""

from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import QWidget

MIDDLE = 128
"""Lightness below which a window counts as dark."""

_LINES = {
    True: ("#56b4e9", "#e69f00", "#2fc08f", "#e58fc0", "#f0e442", "#ff8a66"),
    False: ("#0060a8", "#a34700", "#00735a", "#a0206d", "#6b6b00", "#b03018"),
}
"""Lines of several tasks: hues of Okabe and Ito (2008), told apart also by the colour-blind, darker on white."""

_VERDICTS = {True: {True: "#5fd38d", False: "#ff8a80"}, False: {True: "#1b7f3b", False: "#b3261e"}}
"""Good and bad news, by whether the window is dark."""


def text_colour(widget: QWidget) -> QColor:
    """Return the colour of a widget's text."""
    return widget.palette().color(QPalette.ColorRole.WindowText)


def is_dark(widget: QWidget) -> bool:
    """Whether a widget has light text on a dark window."""
    return text_colour(widget).lightness() >= MIDDLE


def line_colour(widget: QWidget, number: int) -> str:
    """Return the colour of a task's line, as ``#rrggbb``."""
    colours = _LINES[is_dark(widget)]
    return colours[number % len(colours)]


def verdict_colour(widget: QWidget, good: bool) -> str:
    """Return the colour of good or bad news, as ``#rrggbb``."""
    return _VERDICTS[is_dark(widget)][good]
