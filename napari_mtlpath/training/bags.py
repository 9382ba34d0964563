"""What a source of labelled bags gives: bags to learn from, bags to choose the best epoch by, and final figures."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.nn.outputs import BagOutput
from napari_mtlpath.tasks import Task
from napari_mtlpath.tiles.spec import TileSpec

CardMetrics = dict[str, dict[str, float | str]]
Answer = Callable[[Float[Tensor, "tile feature"]], BagOutput]
"""A trained aggregator, in evaluation mode and with its explanations."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Bag:
    """One slide's embeddings and what is known about the slide.

    Attributes
    ----------
    features
        Embeddings, [tile, feature].
    labels
        Class index or value per task, NaN where unknown, [task].
    truth
        Which tiles are what, by name, for judging heatmaps; never shown to a model. Each [tile].
    tile_labels
        Labels of the single tiles where the source has them, NaN where unknown, [tile, task]; learned from only if the
        config gives them a weight.
    """

    features: Float[Tensor, "tile feature"]
    labels: Float[Tensor, " task"]
    truth: Mapping[str, Bool[Tensor, " tile"]] = field(default_factory=dict)
    tile_labels: Float[Tensor, "tile task"] | None = None


class BagSource(ABC):
    """Where bags come from.

    Attributes
    ----------
    tasks
        What the labels mean.
    encoder
        Whose embeddings the bags hold.
    spec
        What one tile is.
    bags_per_epoch
        Number of bags that :meth:`train` yields.
    facts
        What the card says about the data.
    slide_labels_only
        Whether no tile has a label.
    """

    tasks: tuple[Task, ...]
    encoder: Encoder
    spec: TileSpec
    bags_per_epoch: int
    facts: Mapping[str, str | int]
    slide_labels_only: bool = True

    @abstractmethod
    def train(self, epoch: int, generator: torch.Generator) -> Iterator[Bag]:
        """Yield the bags of one epoch in random order."""

    @abstractmethod
    def selection(self) -> Sequence[Bag]:
        """Return the bags that the best epoch is chosen by; disjoint from those of :meth:`train`."""

    @abstractmethod
    def figures(self, answer: Answer) -> CardMetrics:
        """Return the final figures, on bags that neither training nor selection saw, beside trivial floors."""

    @abstractmethod
    def statistics(self) -> tuple[Float[Tensor, " feature"], Float[Tensor, " feature"]]:
        """Return mean and standard deviation of the training tiles' features."""
