"""The trivial aggregator to beat: one linear head per task on the mean of the features."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from napari_mtlpath.nn.configured import ConfiguredAggregator
from napari_mtlpath.nn.outputs import BagOutput, TaskOutput


@dataclass(frozen=True, kw_only=True)
class MeanPoolOptions:
    """A :class:`MeanPool` has no options: its architecture is its tasks and the number of features."""


class MeanPool(ConfiguredAggregator):
    r"""A linear head per task on the mean feature: :math:`l_m = W_m \frac{1}{N} \sum_n x_n + b_m`.

    `tile_logits` are the head on each tile; their mean is the bag's logits exactly. There is no attention, no router.

    Examples
    --------
    >>> import torch
    >>> from napari_mtlpath.tasks import Regression
    >>> model = MeanPool.build(tasks=[Regression(name="share")], features=8, options={})
    >>> tuple(model(torch.zeros(5, 8)).tasks["share"].logits.shape)
    (1,)
    """

    options_kind = MeanPoolOptions

    def _assemble(self) -> None:
        self.heads = nn.ModuleList(nn.Linear(self.features, task.outputs) for task in self.tasks)

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
