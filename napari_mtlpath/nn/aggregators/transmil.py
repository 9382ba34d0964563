"""TransMIL: tiles folded into a square, mixed by Nyström attention with a convolutional position code between."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from napari_mtlpath.nn.configured import ConfiguredAggregator
from napari_mtlpath.nn.heads import Head, HeadOutput
from napari_mtlpath.nn.nystrom import NystromAttention
from napari_mtlpath.nn.options import check_count, check_dropout, check_heads
from napari_mtlpath.nn.outputs import BagOutput, TaskOutput


@dataclass(frozen=True, kw_only=True)
class TransmilOptions:
    """The architecture of a :class:`TransMIL`; the defaults are the published ones.

    Attributes
    ----------
    width, heads
        Features per tile after the projection, and attention heads (dividing `width`).
    landmarks
        Landmarks of the Nyström attention.
    dropout
        Share of attention updates dropped while training, in [0, 1).
    """

    width: int = 512
    heads: int = 8
    landmarks: int = 256
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("width", "heads", "landmarks"):
            check_count(name, getattr(self, name))
        check_dropout("dropout", self.dropout)
        check_heads(self.width, self.heads)


class TransMIL(ConfiguredAggregator):
    r"""Transformer-based correlated MIL (Shao et al., 2021, TransMIL, arXiv:2106.00908, algorithms 1 to 3).

    Tiles :math:`h_n = ReLU(W x_n)` in raster order fill a square, row by row; the first ones are repeated in what is
    left of it. Behind one learned class token per task (one in the paper),

    1. :math:`X = X + Nystrom(LN(X))`;
    2. the pyramid position code: depthwise convolutions of 7, 5 and 3 over the square are added to the tiles;
    3. :math:`X = X + Nystrom(LN(X))`; a task's head reads the norm of its token.

    The raster order is that of `coordinates`, by y and then x; without them it is the order of the bag. So this is the
    one aggregator here that the order of tiles matters to, and training and use should agree on giving coordinates.
    Tokens read each other: a task moves the others' answers. There are no answers tile by tile, as a tile outside its
    square is not what the model was trained on. Time and memory are linear in the tiles.

    `attention` is a token's row of the last layer's attention: the tokens' part removed, negative values of the
    approximation set to 0, repeated tiles added up, mean over heads.

    The library torchmil has TransMIL for one binary task; see docs/add-an-aggregator.md for why this is our own.

    Examples
    --------
    >>> from napari_mtlpath.tasks import Classification
    >>> options = {"width": 16, "heads": 2, "landmarks": 4}
    >>> model = TransMIL.build(tasks=[Classification(name="witness")], features=8, options=options)
    >>> tuple(model.eval()(torch.zeros(5, 8)).tasks["witness"].logits.shape)
    (1,)
    """

    represents = True
    options_kind = TransmilOptions
    isolating: ClassVar = None
    architecture: TransmilOptions

    def _assemble(self) -> None:
        width = self.architecture.width
        self.projection = nn.Sequential(nn.Linear(self.features, width), nn.ReLU())
        self.first = CorrelatedLayer(self.architecture)
        self.positions = PyramidPositions(width)
        self.last = CorrelatedLayer(self.architecture)
        self.tokens = nn.ParameterList(nn.Parameter(torch.randn(1, width)) for _ in self.tasks)
        self.heads = nn.ModuleList(Head(width, outputs=task.outputs) for task in self.tasks)

    def forward(
        self,
        bag: Float[Tensor, "tile feature"],
        coordinates: Float[Tensor, "tile 2"] | None = None,
        *,
        explain: bool = False,
    ) -> BagOutput:
        """Aggregate one bag of at least one tile; `coordinates` give the raster order, None keeps that of the bag."""
        self._check_bag(bag)
        order = raster_order(bag, coordinates)
        places = order[square_of(len(order), device=order.device)]
        count = len(self.tasks)
        rows = self.first(torch.cat([*self.tokens, self.projection(bag)[places]]))
        rows = self.represented(torch.cat([rows[:count], self.positions(rows[count:])]))
        answered = self.last(rows)
        maps = self.last.attention_of(rows, first=count)[:, count:] if explain else None
        answers = {}
        for index, task in enumerate(self.tasks):
            said: HeadOutput = self.heads[index](answered[index : index + 1])
            answers[task.name] = TaskOutput(
                logits=said.logits[0],
                embedding=said.embedding[0],
                attention=None if maps is None else _on_tiles(maps[index], places, tiles=len(bag)),
            )
        return BagOutput(tasks=answers)

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the class token and head of one task."""
        index = self._index_of(task)
        return [self.tokens[index], *self.heads[index].parameters()]


class CorrelatedLayer(nn.Module):
    """``X + Nystrom(LN(X))``."""

    def __init__(self, architecture: TransmilOptions) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(architecture.width)
        self.attention = NystromAttention(
            architecture.width, heads=architecture.heads, landmarks=architecture.landmarks
        )
        self.dropout = nn.Dropout(architecture.dropout)

    def forward(self, rows: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """Return the new rows."""
        return rows + self.dropout(self.attention(self.norm(rows)))

    def attention_of(self, rows: Float[Tensor, "row feature"], *, first: int) -> Float[Tensor, "first row"]:
        """Return the attention of the first rows over all, mean over heads."""
        return self.attention.weights(self.norm(rows), first=first).clamp_min(0.0).mean(dim=0)


class PyramidPositions(nn.Module):
    """``X + Conv7(X) + Conv5(X) + Conv3(X)``, depthwise, over tiles folded into a square (TransMIL, algorithm 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width, width, size, padding=size // 2, groups=width) for size in (7, 5, 3)
        )

    def forward(self, tiles: Float[Tensor, "tile feature"]) -> Float[Tensor, "tile feature"]:
        """Return the tiles of a full square with their position code."""
        square = tiles.T.reshape(1, tiles.shape[1], math.isqrt(len(tiles)), -1)
        coded = square + torch.stack([convolve(square) for convolve in self.convolutions]).sum(dim=0)
        return coded[0].flatten(1).T


def raster_order(
    bag: Float[Tensor, "tile feature"], coordinates: Float[Tensor, "tile 2"] | None
) -> Int[Tensor, " tile"]:
    """Return the tiles' order by y and then x; that of the bag without coordinates."""
    if coordinates is None:
        return torch.arange(len(bag), device=bag.device)
    by_x = torch.argsort(coordinates[:, 1], stable=True)
    return by_x[torch.argsort(coordinates[by_x, 0], stable=True)].to(bag.device)


def square_of(count: int, *, device: torch.device) -> Int[Tensor, " place"]:
    """Return which of `count` tiles fills each place of the smallest square that holds them, from the first again.

    Examples
    --------
    >>> square_of(5, device=torch.device("cpu")).tolist()
    [0, 1, 2, 3, 4, 0, 1, 2, 3]
    """
    side = math.isqrt(count - 1) + 1
    return torch.arange(side * side, device=device) % count


def _on_tiles(
    attention: Float[Tensor, " place"], places: Int[Tensor, " place"], *, tiles: int
) -> Float[Tensor, " tile"]:
    total = attention.new_zeros(tiles).index_add(0, places, attention) + torch.finfo(attention.dtype).tiny
    return total / total.sum()
