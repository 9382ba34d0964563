"""What a source of labelled bags gives: bags to learn from, bags to choose the best epoch by, and final figures."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.nn.outputs import BagOutput
from napari_mtlpath.tasks import Task
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.end_to_end.tiles import BagTiles

NO_FIXED_BAGS = (
    "Expected a fixed set of training slides; found slides that are made up as they are needed. Use data of source "
    "'cohort', or leave out what needs a fixed set (balanced sampling, class weights, scaled targets)."
)

CardMetrics = dict[str, dict[str, float | str]]


@runtime_checkable
class Answer(Protocol):
    """A trained aggregator, in evaluation mode and with its explanations."""

    def __call__(self, bag: "Bag") -> BagOutput:
        """Answer one bag."""
        ...


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
    coordinates
        Centres of the tiles as (y, x), [tile, 2], for aggregators that look at them.
    tiles
        The tiles themselves, where an encoder can learn from them.
    name, patient
        What the slide (or the patient, whose slides form one bag) is called, and whose it is; empty for made-up slides.
    """

    features: Float[Tensor, "tile feature"]
    labels: Float[Tensor, " task"]
    truth: Mapping[str, Bool[Tensor, " tile"]] = field(default_factory=dict)
    tile_labels: Float[Tensor, "tile task"] | None = None
    coordinates: Float[Tensor, "tile 2"] | None = None
    tiles: BagTiles | None = None
    name: str = ""
    patient: str = ""


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
    training_labels
        Labels of the training bags, NaN where unknown, [sample, task]; None where bags are made up as they are needed.
    notes
        What a person should know about the data before training starts, one sentence each.
    digest
        Changes when the data do: a checkpoint belongs to one. Empty where the config says it all.
    """

    tasks: tuple[Task, ...]
    encoder: Encoder
    spec: TileSpec
    bags_per_epoch: int
    facts: Mapping[str, str | int]
    slide_labels_only: bool = True
    training_labels: Float[Tensor, "sample task"] | None = None
    notes: tuple[str, ...] = ()
    digest: str = ""

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

    def fixed_labels(self) -> Float[Tensor, "sample task"]:
        """Return `training_labels`.

        Raises
        ------
        ValueError
            If the source has no fixed set of training bags.
        """
        if self.training_labels is None:
            raise ValueError(NO_FIXED_BAGS)
        return self.training_labels

    def training_bag(self, row: int) -> Bag:
        """Return the training bag of a row of `training_labels`; errors as for :meth:`fixed_labels`."""
        raise ValueError(NO_FIXED_BAGS)

    def parts_to_predict(self) -> Mapping[str, Sequence[Bag]]:
        """Return the bags whose answers are kept with the model, by part; none where bags have no names."""
        return {}

    @property
    def training_means(self) -> Float[Tensor, "sample feature"] | None:
        """Mean features of the training bags, in the order of `training_labels`; None where there are none."""
        return None

    def write_split(self, folder: Path) -> None:
        """Write which patients are in which part to `folder`, where the source has patients."""
        return
