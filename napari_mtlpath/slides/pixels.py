"""Pixels read from a slide, together with what could not be read of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """A piece of a slide.

    Attributes
    ----------
    array
        [y, x, 3] of uint8 RGB; hatched where a native tile could not be read. May be read-only.
    unreadable
        Number of native tiles in it that could not be read.
    """

    array: NDArray[np.uint8]
    unreadable: int = 0

    @property
    def complete(self) -> bool:
        """Whether everything was read; what is not complete is kept from the model."""
        return self.unreadable == 0
