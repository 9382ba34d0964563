"""Slides: what a whole-slide file offers, read lazily, safely and with units."""
