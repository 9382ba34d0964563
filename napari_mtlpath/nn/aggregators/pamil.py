"""Prototype MIL: learned prototypes look at the tiles, and each class weighs what they see."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from napari_mtlpath.nn.options import check_count, check_dropout, check_weight
from napari_mtlpath.nn.outputs import Auxiliary, Criterion, TaskOutput
from napari_mtlpath.nn.per_task import PerTaskAggregator
from napari_mtlpath.tasks import Classification, Task

PULL = 0.005  # Weight of both cluster losses beside the bag's (released settings of SLAM-AGS).


@dataclass(frozen=True, kw_only=True)
class PamilOptions:
    """The architecture of a :class:`Pamil`.

    Attributes
    ----------
    width
        Features of a tile after the shared projection, and of a prototype.
    attention_width
        Hidden features of each task's gate.
    prototypes
        Prototypes of each task.
    dropout
        Share of projected values dropped while training, in [0, 1).
    tile_pull
        Weight of the distance from each tile to its nearest prototype, at least 0.
    prototype_pull
        Weight of the distance from each prototype to its nearest tile, at least 0.
    """

    width: int = 512
    attention_width: int = 128
    prototypes: int = 8
    dropout: float = 0.0
    tile_pull: float = PULL
    prototype_pull: float = PULL

    def __post_init__(self) -> None:
        for name in ("width", "attention_width", "prototypes"):
            check_count(name, getattr(self, name))
        check_dropout("dropout", self.dropout)
        check_weight("tile_pull", self.tile_pull)
        check_weight("prototype_pull", self.prototype_pull)


class Pamil(PerTaskAggregator):
    r"""Prototype attention MIL, the aggregator that SLAM-AGS (2025, arXiv:2511.14639) comes with.

    :math:`h_n = W x_n / \|W x_n\|` is shared. Task m has P prototypes :math:`p` of length 1 and a gate
    :math:`g_{np} = w^T (\tanh(V p) \odot \sigma(U h_n))`; a linear map turns the P values of a tile into one score per
    class, :math:`a_{cn} = softmax_n(A_c g_n)`, and class c answers :math:`u_c^T \sum_n a_{cn} h_n + b_c`, its weight
    normalised (Salimans and Kingma, 2016, arXiv:1602.07868). A binary or regression task has one class.

    While training, a task's `auxiliary` loss pulls tiles and prototypes together:
    the mean over tiles of :math:`1 - \max_p h_n \cdot p` and the mean over prototypes of :math:`1 - \max_n h_n \cdot
    p`, each with its weight. `attention` is that of the class that a slide's answer names, for a binary task that of
    its positive class.

    Examples
    --------
    >>> from napari_mtlpath.tasks import Classification
    >>> model = Pamil.build(tasks=[Classification(name="blasts")], features=8, options={"width": 16})
    >>> tuple(model.eval()(torch.zeros(5, 8), explain=True).tasks["blasts"].attention.shape)
    (5,)
    """

    own_modules = "branches"
    options_kind = PamilOptions
    architecture: PamilOptions

    def _assemble(self) -> None:
        width = self.architecture.width
        self.projection = nn.Linear(self.features, width)
        self.dropout = nn.Dropout(self.architecture.dropout)
        self.branches = nn.ModuleList(PamilBranch(self.architecture, task) for task in self.tasks)

    def _tiles(self, bag: Float[Tensor, "tile feature"]) -> Float[Tensor, "tile width"]:
        return functional.normalize(self.dropout(self.projection(bag)), dim=1)


class PamilBranch(nn.Module):
    """One task's prototypes, gate and class answers."""

    def __init__(self, architecture: PamilOptions, task: Task) -> None:
        super().__init__()
        self.architecture = architecture
        self.chooses_class = isinstance(task, Classification) and not task.is_binary
        width, hidden = architecture.width, architecture.attention_width
        self.prototypes = nn.Parameter(functional.normalize(torch.randn(architecture.prototypes, width), dim=1))
        self.content = nn.Linear(width, hidden)
        self.gate = nn.Linear(width, hidden)
        self.score = nn.Linear(hidden, 1)
        self.classes = nn.Linear(architecture.prototypes, task.outputs)
        self.head = nn.utils.parametrizations.weight_norm(nn.Linear(width, task.outputs))

    def forward(self, tiles: Float[Tensor, "tile feature"], explain: bool) -> TaskOutput:
        """Pool the projected tiles once per class and answer."""
        prototypes = functional.normalize(self.prototypes, dim=1)
        attention = torch.softmax(self.classes(self._seen(tiles, prototypes)), dim=0)
        pooled = attention.T @ tiles
        weight = self.head.weight
        logits = (pooled * weight).sum(1) + self.head.bias
        chosen = logits.argmax() if self.chooses_class else 0
        return TaskOutput(
            logits=logits,
            embedding=pooled[chosen],
            attention=attention[:, chosen] if explain else None,
            tile_logits=self.head(tiles) if explain else None,
            auxiliary=self._auxiliary(tiles, prototypes) if self.training else None,
        )

    def _seen(
        self, tiles: Float[Tensor, "tile feature"], prototypes: Float[Tensor, "prototype feature"]
    ) -> Float[Tensor, "tile prototype"]:
        """Return the gate of every tile with every prototype; no [tile, prototype, hidden] array is made."""
        content = torch.tanh(self.content(prototypes)) * self.score.weight
        return torch.sigmoid(self.gate(tiles)) @ content.T + self.score.bias

    def _auxiliary(
        self, tiles: Float[Tensor, "tile feature"], prototypes: Float[Tensor, "prototype feature"]
    ) -> Auxiliary:
        def pull(label: Float[Tensor, ""], criterion: Criterion) -> Float[Tensor, ""]:
            nearness = tiles @ prototypes.T
            to_prototype = (1 - nearness.max(1).values).mean()
            to_tile = (1 - nearness.max(0).values).mean()
            return self.architecture.tile_pull * to_prototype + self.architecture.prototype_pull * to_tile

        return pull
