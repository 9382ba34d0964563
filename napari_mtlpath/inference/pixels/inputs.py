"""What the analysis of pixels needs of a model: so that it can be tested with one whose answer is known."""

from collections.abc import Collection
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mtlpath.inference.inputs import EncodingCard
from napari_mtlpath.inference.pixels.answers import PixelAnswers
from napari_mtlpath.tasks import AnyTask


@runtime_checkable
class AnsweringModel(Protocol):
    """The part of :class:`napari_mtlpath.zoo.pixel_model.PixelModel` that an analysis uses."""

    @property
    def card(self) -> EncodingCard:
        """Its name and its tile."""

    @property
    def tasks(self) -> tuple[AnyTask, ...]:
        """The model's tasks, in order."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    def digest(self) -> str:
        """SHA-256 over weights and card."""

    def answer(
        self, tiles: NDArray[np.uint8], *, wanted: Collection[str] | None = None, attention: bool = True
    ) -> PixelAnswers:
        """Answer for RGB tiles [tile, y, x, 3]: the tasks that are wanted (None: all), with or without attention."""
