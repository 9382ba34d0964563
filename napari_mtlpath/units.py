"""Units of length and of pixels, so that a number says what it counts."""

from typing import NewType

Microns = NewType("Microns", float)
"""A length on the glass, in micrometres."""

MicronsPerPixel = NewType("MicronsPerPixel", float)
"""The side of one level-0 pixel on the glass, in micrometres."""

SlidePixels = NewType("SlidePixels", int)
"""A length or position counted in pixels of the slide's level 0."""

TilePixels = NewType("TilePixels", int)
"""A length counted in pixels of a tile as the encoder receives it."""
