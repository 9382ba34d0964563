"""What an aggregator is: a network that turns a bag of tile features into task outputs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_mtlpath.nn.answers import BagAnswer, TaskAnswer
from napari_mtlpath.nn.options import nearest
from napari_mtlpath.nn.outputs import BagOutput, TaskOutput
from napari_mtlpath.nn.representation import Representation
from napari_mtlpath.tasks import AnyTask, Task, whole_tasks


class Aggregator(nn.Module, ABC):
    """Bag -> task outputs. One public subclass per module of ``napari_mtlpath.nn.aggregators``.

    One bag at a time: bags differ in length, and a padded batch costs more than it gives on the machines this is for.
    Batches are loops over bags with accumulated gradients.

    Attributes
    ----------
    tasks
        What the model answers, in its order.
    features
        Features per tile.
    isolating
        Options under which no task's loss reaches what belongs to another task alone: an empty table where that always
        holds, None where it never does. A claim, which the law tests check.
    represents
        Whether the forward pass hands out its shared representation by :meth:`represented`.
    representation
        Where it is recorded while a step runs that balances task gradients there; None otherwise.
    """

    tasks: tuple[Task, ...]
    features: int
    isolating: ClassVar[Mapping[str, Any] | None] = {}
    represents: ClassVar[bool] = False
    representation: Representation | None = None

    @classmethod
    @abstractmethod
    def build(
        cls,
        *,
        tasks: Sequence[Task],
        features: int,
        options: Mapping[str, Any],
        generator: torch.Generator | None = None,
    ) -> "Aggregator":
        """Build from a model's ``[architecture]`` table; unknown options raise ValueError naming the known ones.

        `generator` makes the starting weights reproducible; None uses torch's global one.
        """

    @property
    @abstractmethod
    def options(self) -> dict[str, Any]:
        """The plain table from which :meth:`build` makes this architecture again, defaults included."""

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

    def answer_bag(self, features: NDArray[np.float32], centres: NDArray[np.float32]) -> BagAnswer:
        """Answer for one bag with all explanations, without gradients, and bring the answer to the CPU.

        Parameters
        ----------
        features
            Embeddings, [tile, feature].
        centres
            Tile centres in microns, [tile, 2] as (y, x).
        """
        device = next((parameter.device for parameter in self.parameters()), torch.device("cpu"))
        with torch.inference_mode():
            bag = torch.from_numpy(np.ascontiguousarray(features, np.float32)).to(device)
            places = torch.from_numpy(np.ascontiguousarray(centres, np.float32)).to(device)
            output = self(bag, places, explain=True)
            return BagAnswer(tasks={name: _on_cpu(said) for name, said in output.tasks.items()})

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that belong to no task alone."""
        private = {id(parameter) for task in self.tasks for parameter in self.task_parameters(task.name)}
        return [parameter for parameter in self.parameters() if id(parameter) not in private]

    def represented(self, tensor: Tensor) -> Tensor:
        """Hand out a tensor of the shared representation, and return what tasks are to read instead of it."""
        return tensor if self.representation is None else self.representation.cut(tensor)

    def _check_bag(self, bag: Tensor) -> None:
        if len(bag) == 0:
            raise ValueError("A bag must hold at least one tile; found none. Pass the features of some tiles.")
        if bag.shape[1] != self.features:
            raise ValueError(
                f"This model reads {self.features} features per tile; found {bag.shape[1]}. "
                "Use the encoder that the model was trained with."
            )

    def _index_of(self, task: str) -> int:
        names = [known.name for known in self.tasks]
        if task not in names:
            raise ValueError(f"This model has no task {task!r}.{nearest(task, names)} Its tasks: {', '.join(names)}.")
        return names.index(task)


def _on_cpu(said: TaskOutput) -> TaskAnswer:
    def values(tensor: Tensor | None) -> NDArray[np.float32] | None:
        return None if tensor is None else tensor.to("cpu", torch.float32).numpy()

    return TaskAnswer(
        logits=said.logits.to("cpu", torch.float64).numpy(),
        routing=values(said.routing),
        selected=None if said.selected is None else said.selected.cpu().numpy(),
        attention=values(said.attention),
        tile_logits=values(said.tile_logits),
    )


def check_tasks(tasks: Sequence[AnyTask]) -> tuple[Task, ...]:
    """Return `tasks` as a tuple; raise ValueError when there is none, two share a name or one asks about pixels."""
    names = [task.name for task in tasks]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"A model needs at least one task, each with a name of its own; found {names}.")
    return whole_tasks(tasks)
