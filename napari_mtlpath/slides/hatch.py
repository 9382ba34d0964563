"""The pattern that stands in for a tile that cannot be read."""

import numpy as np
from numpy.typing import NDArray

STRIPE_PX = 16
"""Width of one stripe in pixels of the level shown."""

LIGHT = (214, 196, 200)
DARK = (150, 96, 110)


def hatched(height: int, width: int) -> NDArray[np.uint8]:
    """Return diagonal stripes, [height, width, 3] of uint8 RGB; no tissue looks like them.

    Examples
    --------
    >>> hatched(4, 6).shape
    (4, 6, 3)
    """
    stripe = (np.arange(height)[:, None] + np.arange(width)[None, :]) // STRIPE_PX % 2
    return np.where(stripe[..., None] == 0, np.array(LIGHT, np.uint8), np.array(DARK, np.uint8))
