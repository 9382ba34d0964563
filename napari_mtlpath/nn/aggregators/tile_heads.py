"""Tasks asked of each tile: one linear head per task on its embedding; a slide's figure is the mean over its tiles."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from napari_mtlpath.nn.configured import ConfiguredAggregator
from napari_mtlpath.nn.outputs import BagOutput, TaskOutput
from napari_mtlpath.tasks import Classification, Task


@dataclass(frozen=True, kw_only=True)
class TileHeadsOptions:
    """A :class:`TileHeads` has no options: its architecture is its tasks and the number of features."""


class TileHeads(ConfiguredAggregator):
    r"""A linear head per task on every tile, :math:`z_n = W_m x_n + b_m`, and the mean of what the tiles answer.

    The bag's answer is the mean over its tiles of their probabilities (of their values for a regression):
    :math:`\sigma(l_m) = \frac{1}{N} \sum_n \sigma(z_n)` for a binary task, a softmax in place of :math:`\sigma` for
    more classes. It says what share of the tiles looks how; nobody trained it as an answer about the slide. The heads
    learn with a tile encoder (:mod:`napari_mtlpath.training.pool`), from labels of single tiles.

    `tile_logits` are the heads' answers, for more than two classes as logarithms of probabilities, so that the logits
    of a bag of one tile are its tile's.

    Examples
    --------
    >>> from napari_mtlpath.tasks import Regression
    >>> model = TileHeads.build(tasks=[Regression(name="share")], features=8, options={})
    >>> tuple(model(torch.zeros(5, 8), explain=True).tasks["share"].tile_logits.shape)
    (5, 1)
    """

    options_kind = TileHeadsOptions

    def _assemble(self) -> None:
        self.heads = nn.ModuleList(nn.Linear(self.features, task.outputs) for task in self.tasks)

    def forward(
        self,
        bag: Float[Tensor, "tile feature"],
        coordinates: Float[Tensor, "tile 2"] | None = None,
        *,
        explain: bool = False,
    ) -> BagOutput:
        """Answer each tile of at least one, and average; `coordinates` are not used."""
        self._check_bag(bag)
        mean = bag.mean(dim=0)
        answers = {}
        for task, head in zip(self.tasks, self.heads, strict=True):
            tiles = tile_answers(task, head(bag))
            answers[task.name] = TaskOutput(
                logits=mean_answer(task, tiles), embedding=mean, tile_logits=tiles if explain else None
            )
        return BagOutput(tasks=answers)

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the head of one task."""
        return list(self.heads[self._index_of(task)].parameters())


def tile_answers(task: Task, outputs: Float[Tensor, "tile output"]) -> Float[Tensor, "tile output"]:
    """Return a head's outputs; for more than two classes as logarithms of probabilities."""
    if isinstance(task, Classification) and not task.is_binary:
        return functional.log_softmax(outputs, dim=1)
    return outputs


def mean_answer(task: Task, tiles: Float[Tensor, "tile output"]) -> Float[Tensor, " output"]:
    """Return the logits of the mean probabilities of tiles, or the mean of their values.

    Examples
    --------
    >>> tiles = torch.logit(torch.tensor([[0.2], [0.6]]))
    >>> torch.sigmoid(mean_answer(Classification(name="blast"), tiles))
    tensor([0.4000])
    """
    if not isinstance(task, Classification):
        return tiles.mean(dim=0)
    if task.is_binary:
        return _log_mean(functional.logsigmoid(tiles)) - _log_mean(functional.logsigmoid(-tiles))
    return _log_mean(tiles)


def _log_mean(logarithms: Float[Tensor, "tile output"]) -> Float[Tensor, " output"]:
    """Return log((1/N) sum exp), without leaving the logarithms: probabilities of 1e-30 keep their value."""
    return torch.logsumexp(logarithms, dim=0) - torch.log(torch.ones_like(logarithms).sum(dim=0))
