"""What an aggregator is: a network that turns a bag of tile features into task outputs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

from jaxtyping import Float
from torch import Tensor, nn

from napari_mtlpath.nn.outputs import BagOutput
from napari_mtlpath.tasks import Task


class Aggregator(nn.Module, ABC):
    """Bag -> task outputs. One public subclass per module of ``napari_mtlpath.nn.aggregators``.

    One bag at a time: bags differ in length, and a padded batch costs more than it gives on the machines this is for.
    Batches are loops over bags with accumulated gradients.
    """

    tasks: tuple[Task, ...]

    @classmethod
    @abstractmethod
    def build(cls, *, tasks: Sequence[Task], features: int, options: Mapping[str, Any]) -> Self:
        """Build from a model's ``[architecture]`` table; unknown options raise ValueError naming the known ones."""

    @abstractmethod
    def forward(
        self,
        bag: Float[Tensor, "tile feature"],
        coordinates: Float[Tensor, "tile 2"] | None = None,
        *,
        explain: bool = False,
    ) -> BagOutput:
        """Aggregate one bag of at least one tile.

        Parameters
        ----------
        bag
            Embeddings, [tile, feature].
        coordinates
            Tile centres in microns as (y, x); aggregators without positions ignore them.
        explain
            Also compute `attention` and `tile_logits` where the model has them (training leaves them out).
        """

    @abstractmethod
    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the parameters that belong to one task alone (token, routers, experts, head)."""
