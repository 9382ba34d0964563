"""DSMIL: the critical tile of a task answers, and so does a bag embedding gathered around it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from napari_mtlpath.nn.options import check_count, check_dropout, check_weight
from napari_mtlpath.nn.outputs import Auxiliary, Criterion, TaskOutput
from napari_mtlpath.nn.per_task import PerTaskAggregator


@dataclass(frozen=True, kw_only=True)
class DsmilOptions:
    """The architecture of a :class:`DSMIL`.

    Attributes
    ----------
    width
        Features of a tile after the shared projection.
    query_width
        Features of a tile's query.
    dropout
        Share of projected values dropped while training, in [0, 1).
    stream_weight
        Weight of the two streams' own losses beside the task's loss of their mean, at least 0.
    """

    width: int = 256
    query_width: int = 128
    dropout: float = 0.1
    stream_weight: float = 1.0

    def __post_init__(self) -> None:
        check_count("width", self.width)
        check_count("query_width", self.query_width)
        check_dropout("dropout", self.dropout)
        check_weight("stream_weight", self.stream_weight)


class DSMIL(PerTaskAggregator):
    r"""Dual-stream MIL (Li et al., 2021, DSMIL, arXiv:2011.08939, section 3.1), two streams per task.

    :math:`h_n = ReLU(W x_n)` is shared. Per task and output c, the first stream scores tiles,
    :math:`s_n = w_c h_n + b_c`, and the critical tile :math:`m = argmax_n s_n` answers :math:`s_m`. The second gathers
    around it: :math:`q_n = W_q h_n`, :math:`v_n = W_v h_n`, :math:`u_n = softmax_n(q_n q_m / \sqrt{d})`,
    :math:`b_c = \sum_n u_n v_n`, and a linear head reads all outputs' :math:`b_c`. The bag's logits are the mean of
    both. The paper leaves out the scale :math:`\sqrt d`, the authors and torchmil have it.

    While training each stream also has its own loss: `auxiliary` is their mean under the task's criterion.

    `attention` is the mean of u over the task's outputs; `tile_logits` are both streams' answers to each tile alone.
    The library torchmil has DSMIL for one binary task; see docs/add-an-aggregator.md for why this is our own.

    Examples
    --------
    >>> from napari_mtlpath.tasks import Classification
    >>> model = DSMIL.build(tasks=[Classification(name="witness")], features=8, options={"width": 16}).eval()
    >>> tuple(model(torch.zeros(5, 8), explain=True).tasks["witness"].attention.shape)
    (5,)
    """

    own_modules = "streams"
    options_kind = DsmilOptions
    architecture: DsmilOptions

    def _assemble(self) -> None:
        width, dropout = self.architecture.width, self.architecture.dropout
        self.projection = nn.Sequential(nn.Linear(self.features, width), nn.ReLU(), nn.Dropout(dropout))
        self.streams = nn.ModuleList(DualStream(self.architecture, outputs=task.outputs) for task in self.tasks)

    def _tiles(self, bag: Float[Tensor, "tile feature"]) -> Float[Tensor, "tile width"]:
        return self.projection(bag)


class DualStream(nn.Module):
    """One task's two streams."""

    def __init__(self, architecture: DsmilOptions, *, outputs: int) -> None:
        super().__init__()
        width = architecture.width
        self.stream_weight = architecture.stream_weight
        self.query = nn.Linear(width, architecture.query_width)
        self.value = nn.Linear(width, width)
        tile, bag = nn.Linear(width, outputs), nn.Linear(outputs * width, outputs)
        self.heads = nn.ModuleDict({"tile": tile, "bag": bag})

    def forward(self, tiles: Float[Tensor, "tile feature"], explain: bool) -> TaskOutput:
        """Answer with both streams."""
        scores = self.heads["tile"](tiles)
        critical = scores.max(dim=0)
        queries = self.query(tiles)
        alike = queries @ queries[critical.indices].T / queries.shape[1] ** 0.5
        attention = torch.softmax(alike, dim=0)
        # The map is linear and the attention sums to 1: gathering first costs less.
        embedding = self.value(attention.T @ tiles).flatten()
        gathered = self.heads["bag"](embedding)
        return TaskOutput(
            logits=0.5 * (critical.values + gathered),
            embedding=embedding,
            attention=attention.mean(dim=1) if explain else None,
            tile_logits=0.5 * (scores + self._gathered_each(tiles)) if explain else None,
            auxiliary=self._auxiliary(critical.values, gathered) if self.training else None,
        )

    def _gathered_each(self, tiles: Float[Tensor, "tile feature"]) -> Float[Tensor, "tile output"]:
        # Alone, a tile is critical for every output: all of the head's parts read the same value.
        head = self.heads["bag"]
        assert isinstance(head, nn.Linear)  # ModuleDict forgets the type of its modules
        weight = head.weight.reshape(head.out_features, head.out_features, -1).sum(dim=1)
        return functional.linear(self.value(tiles), weight, head.bias)

    def _auxiliary(self, critical: Float[Tensor, " output"], gathered: Float[Tensor, " output"]) -> Auxiliary:
        def stream_losses(label: Float[Tensor, ""], criterion: Criterion) -> Float[Tensor, ""]:
            return self.stream_weight * 0.5 * (criterion(critical, label) + criterion(gathered, label))

        return stream_losses
