"""What an analysis of pixels reads of a model's answer."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class PixelAnswers(Protocol):
    """What a pixel model says about a batch of tiles."""

    @property
    def pixels(self) -> Mapping[str, NDArray[np.float32]]:
        """By pixel task: probabilities [tile, class, y, x], or values [tile, 1, y, x]."""

    @property
    def tiles(self) -> Mapping[str, NDArray[np.float32]]:
        """By task of a whole tile: logits or values, [tile, output]."""

    @property
    def attention(self) -> Mapping[str, NDArray[np.float32]]:
        """By task: what it offers the other tasks, 0 to 1, [tile, y, x]; empty for networks without."""


def answers_pixels(model: object) -> bool:
    """Whether a model answers pixel by pixel, and not by embeddings of tiles."""
    return callable(getattr(model, "answer", None))
