"""Colours of pixel classes: told apart on stained tissue, also by the colour-blind, in dark and light windows."""

from typing import TYPE_CHECKING

import numpy as np
from napari.utils.theme import get_theme
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari.components import ViewerModel

MIDDLE = 128
"""Lightness, of 255, below which a window counts as dark."""

COLOURS = {
    True: ("#56b4e9", "#f0e442", "#00b07c", "#ff7f2a", "#cfe8ff", "#b08b00"),
    False: ("#0072b2", "#d6c600", "#006b4f", "#d55e00", "#6fb7e6", "#7a5c00"),
}
"""Hues of Okabe and Ito (2008) without their purples, which are those of the stain; brighter in a dark window."""


def is_dark_theme(viewer: "ViewerModel") -> bool:
    """Whether a viewer's window is dark."""
    background = get_theme(str(viewer.theme)).background.as_rgb_tuple()
    return float(np.mean(background[:3])) < MIDDLE


def class_colour(number: int, *, dark: bool) -> str:
    """Return the colour of a class of a segmentation as ``#rrggbb``; 1 is the first class after the background."""
    colours = COLOURS[dark]
    return colours[(number - 1) % len(colours)]


def class_table(classes: int, *, dark: bool) -> NDArray[np.uint8]:
    """Return RGBA [256, 4] for class numbers: the background is see-through.

    Examples
    --------
    >>> class_table(2, dark=True)[:2].tolist()
    [[0, 0, 0, 0], [86, 180, 233, 255]]
    """
    table = np.zeros((256, 4), np.uint8)
    for number in range(1, classes):
        table[number] = (*bytes.fromhex(class_colour(number, dark=dark)[1:]), 255)
    return table
