"""The loudest tile decides: one linear head per task, the largest value over the tiles."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from napari_mtlpath.nn.configured import ConfiguredAggregator
from napari_mtlpath.nn.outputs import BagOutput, TaskOutput


@dataclass(frozen=True, kw_only=True)
class MaxPoolOptions:
    """A :class:`MaxPool` has no options: its architecture is its tasks and the number of features."""


class MaxPool(ConfiguredAggregator):
    r"""A linear head per task on each tile; the largest decides: :math:`l_m = \max_n (W_m x_n + b_m)`.

    With several classes each has its own loudest tile. `embedding` is the mean of the deciding tiles' features over the
    task's outputs. For a regression the largest answer over the tiles is the bag's.

    Examples
    --------
    >>> import torch
    >>> from napari_mtlpath.tasks import Regression
    >>> model = MaxPool.build(tasks=[Regression(name="share")], features=8, options={})
    >>> tuple(model(torch.zeros(5, 8)).tasks["share"].logits.shape)
    (1,)
    """

    options_kind = MaxPoolOptions

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
        answers = {}
        for task, head in zip(self.tasks, self.heads, strict=True):
            tile_logits = head(bag)
            loudest = tile_logits.max(dim=0)
            answers[task.name] = TaskOutput(
                logits=loudest.values,
                embedding=bag[loudest.indices].mean(dim=0),
                tile_logits=tile_logits if explain else None,
            )
        return BagOutput(tasks=answers)

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the head of one task."""
        return list(self.heads[self._index_of(task)].parameters())
