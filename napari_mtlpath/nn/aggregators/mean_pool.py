"""The trivial aggregator to beat: one linear head per task on the mean of the features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_mtlpath.nn.aggregator import Aggregator, check_tasks
from napari_mtlpath.nn.options import check_count, plain_options, read_options
from napari_mtlpath.nn.outputs import BagOutput, TaskOutput
from napari_mtlpath.nn.seeding import initialised_by
from napari_mtlpath.tasks import Task


@dataclass(frozen=True, kw_only=True)
class MeanPoolOptions:
    """A :class:`MeanPool` has no options: its architecture is its tasks and the number of features."""


class MeanPool(Aggregator):
    r"""A linear head per task on the mean feature: :math:`l_m = W_m \frac{1}{N} \sum_n x_n + b_m`.

    `tile_logits` are the head on each tile; their mean is the bag's logits exactly. There is no attention, no router.

    Examples
    --------
    >>> from napari_mtlpath.tasks import Regression
    >>> model = MeanPool.build(tasks=[Regression(name="share")], features=8, options={})
    >>> tuple(model(torch.zeros(5, 8)).tasks["share"].logits.shape)
    (1,)
    """

    def __init__(self, *, tasks: Sequence[Task], features: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        check_count("features", features)
        self.tasks = check_tasks(tasks)
        self.features = features
        with initialised_by(generator):
            self.heads = nn.ModuleList(nn.Linear(features, task.outputs) for task in self.tasks)

    @classmethod
    def build(
        cls,
        *,
        tasks: Sequence[Task],
        features: int,
        options: Mapping[str, Any],
        generator: torch.Generator | None = None,
    ) -> "MeanPool":
        """Build for `tasks`; the table of options must be empty."""
        read_options(MeanPoolOptions, options)
        return cls(tasks=tasks, features=features, generator=generator)

    @property
    def options(self) -> dict[str, Any]:
        """The empty table."""
        return plain_options(MeanPoolOptions())

    def forward(
        self,
        bag: Float[Tensor, "tile feature"],
        coordinates: Float[Tensor, "tile 2"] | None = None,
        *,
        explain: bool = False,
    ) -> BagOutput:
        """Aggregate one bag of at least one tile; `coordinates` are not used."""
        self._check_bag(bag)
        mean = bag.mean(dim=0)
        return BagOutput(
            tasks={
                task.name: TaskOutput(logits=head(mean), embedding=mean, tile_logits=head(bag) if explain else None)
                for task, head in zip(self.tasks, self.heads, strict=True)
            }
        )

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the head of one task."""
        return list(self.heads[self._index_of(task)].parameters())
