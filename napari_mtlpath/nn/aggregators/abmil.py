"""Gated attention pooling, one attention branch per task."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_mtlpath.nn.options import check_count, check_dropout
from napari_mtlpath.nn.outputs import TaskOutput
from napari_mtlpath.nn.per_task import PerTaskAggregator


@dataclass(frozen=True, kw_only=True)
class AbmilOptions:
    """The architecture of a :class:`GatedABMIL`.

    Attributes
    ----------
    width
        Features of a tile after the shared projection.
    attention_width
        Hidden features of each task's gate.
    dropout
        Share of projected values dropped while training, in [0, 1).
    """

    width: int = 256
    attention_width: int = 128
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_count("width", self.width)
        check_count("attention_width", self.attention_width)
        check_dropout("dropout", self.dropout)


class GatedABMIL(PerTaskAggregator):
    r"""Attention-based multiple instance learning with a gate (Ilse et al., 2018, arXiv:1802.04712, eq. 9).

    :math:`h_n = ReLU(W x_n)` is shared; per task m
    :math:`a_{mn} = softmax_n(w_m^T (\tanh(V_m h_n) \odot \sigma(U_m h_n)))`, :math:`z_m = \sum_n a_{mn} h_n`, and a
    linear head reads :math:`z_m`. `tile_logits` are the head on :math:`h_n`: their mean weighted by the attention is
    the bag's logits exactly.

    Examples
    --------
    >>> from napari_mtlpath.tasks import Regression
    >>> model = GatedABMIL.build(tasks=[Regression(name="share")], features=8, options={"width": 16})
    >>> tuple(model.eval()(torch.zeros(5, 8), explain=True).tasks["share"].attention.shape)
    (5,)
    """

    own_modules = "pools"
    options_kind = AbmilOptions
    architecture: AbmilOptions

    def _assemble(self) -> None:
        width, dropout = self.architecture.width, self.architecture.dropout
        self.projection = nn.Sequential(nn.Linear(self.features, width), nn.ReLU(), nn.Dropout(dropout))
        self.pools = nn.ModuleList(GatedPool(self.architecture, outputs=task.outputs) for task in self.tasks)

    def _tiles(self, bag: Float[Tensor, "tile feature"]) -> Float[Tensor, "tile width"]:
        return self.projection(bag)


class GatedPool(nn.Module):
    """One task's gated attention and head."""

    def __init__(self, architecture: AbmilOptions, *, outputs: int) -> None:
        super().__init__()
        self.content = nn.Linear(architecture.width, architecture.attention_width)
        self.gate = nn.Linear(architecture.width, architecture.attention_width)
        self.score = nn.Linear(architecture.attention_width, 1)
        self.head = nn.Linear(architecture.width, outputs)

    def forward(self, tiles: Float[Tensor, "tile feature"], explain: bool) -> TaskOutput:
        """Pool the projected tiles and answer."""
        scores = self.score(torch.tanh(self.content(tiles)) * torch.sigmoid(self.gate(tiles))).squeeze(1)
        attention = torch.softmax(scores, dim=0)
        embedding = attention @ tiles
        return TaskOutput(
            logits=self.head(embedding),
            embedding=embedding,
            attention=attention if explain else None,
            tile_logits=self.head(tiles) if explain else None,
        )
