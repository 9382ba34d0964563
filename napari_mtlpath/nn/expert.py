"""A task's expert: it reads the tiles that its router chose, into the task's token and back into the tiles."""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_mtlpath.nn.attention import Mixing, TaskIsolatedAttention
from napari_mtlpath.nn.feedforward import FeedForward

EACH_CHUNK = 4096
"""Tiles per piece where every tile is answered by itself: bounds memory, changes no number."""


class ExpertMixing(StrEnum):
    """What an expert's rows exchange; k is the number of chosen tiles.

    Attributes
    ----------
    TOKEN
        The token reads itself and the chosen tiles; a tile passes only the feed-forward network. Time and memory k.
        Tiles never read a token, not even here.
    FULL
        A whole transformer layer over [token; chosen tiles]: tiles read each other and the token. Time k^2, memory k.
    MLP
        No attention: the token takes the routing-weighted mean of the chosen tiles, then token and tiles pass the
        feed-forward network. (A plain row-wise MLP would leave the last block's routing without any effect.)
    """

    TOKEN = "token"
    FULL = "full"
    MLP = "mlp"


@dataclass(frozen=True, kw_only=True, eq=False)
class Routed:
    """An expert's result: the new token, [1, feature], and the chosen tiles, or None where nobody reads them."""

    token: Float[Tensor, "1 feature"]
    tiles: Float[Tensor, "chosen feature"] | None


class Expert(nn.Module):
    """One pre-norm transformer layer over ``[T_m; F_m]``: ``[T'_m, F'_m] = Exp_m([T_m, F_m])`` (MECDS, section 2.2).

    The tiles arrive gathered, never masked. The routing weights multiply the token's attention to them.

    Parameters
    ----------
    width, heads, hidden, dropout
        As in the trunk.
    mixing
        What rows exchange.
    """

    def __init__(self, width: int, *, heads: int, hidden: int, dropout: float, mixing: ExpertMixing) -> None:
        super().__init__()
        self.mixing = mixing
        self.read: TaskIsolatedAttention | MeanRead
        if mixing is ExpertMixing.MLP:
            self.read = MeanRead(width, dropout=dropout)
        else:
            inner = Mixing.FULL if mixing is ExpertMixing.FULL else Mixing.NONE
            self.read = TaskIsolatedAttention(width, heads=heads, dropout=dropout, mixing=inner)
        self.feedforward = FeedForward(width, hidden=hidden, dropout=dropout)

    def forward(
        self,
        token: Float[Tensor, "1 feature"],
        tiles: Float[Tensor, "chosen feature"],
        log_weights: Float[Tensor, " chosen"],
        *,
        write: bool,
    ) -> Routed:
        """Return the new token and, if `write`, the new tiles."""
        new_token = token + self._token_update(token, tiles, log_weights)
        new_token = new_token + self.feedforward(new_token)
        if not write:
            return Routed(token=new_token, tiles=None)
        mixed = self._mixed_tiles(token, tiles)
        return Routed(token=new_token, tiles=mixed + self.feedforward(mixed))

    def answer_each(
        self, token: Float[Tensor, "1 feature"], tiles: Float[Tensor, "tile feature"]
    ) -> Float[Tensor, "tile feature"]:
        """Return the token that each tile alone would give, shape [tile, feature]; linear in the tiles."""
        answers = []
        for piece in torch.split(tiles, EACH_CHUNK):
            tokens = token + self.read.read_each(token, piece)
            answers.append(tokens + self.feedforward(tokens))
        return torch.cat(answers)

    def _token_update(
        self,
        token: Float[Tensor, "1 feature"],
        tiles: Float[Tensor, "chosen feature"],
        log_weights: Float[Tensor, " chosen"],
    ) -> Float[Tensor, "1 feature"]:
        if isinstance(self.read, MeanRead):
            return self.read(tiles, log_weights)
        return self.read.read(token, self.read.remember(tiles), log_weights).update

    def _mixed_tiles(
        self, token: Float[Tensor, "1 feature"], tiles: Float[Tensor, "chosen feature"]
    ) -> Float[Tensor, "chosen feature"]:
        match self.mixing:
            case ExpertMixing.FULL:
                assert isinstance(self.read, TaskIsolatedAttention)
                rows = torch.cat([token, tiles])
                return self.read.mix(rows, self.read.remember(rows))[1:]
            case ExpertMixing.TOKEN | ExpertMixing.MLP:
                return tiles
            case _:
                assert_never(self.mixing)


class MeanRead(nn.Module):
    """The token's reading without attention: ``W sum(w_n LayerNorm(F_n)) / sum(w_n)``."""

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, tiles: Float[Tensor, "chosen feature"], log_weights: Float[Tensor, " chosen"]
    ) -> Float[Tensor, "1 feature"]:
        """Return the update of the token, shape [1, feature]."""
        shares = torch.softmax(log_weights, dim=0)
        return self.dropout(self.output(shares[None] @ self.norm(tiles)))

    def read_each(
        self, token: Float[Tensor, "1 feature"], tiles: Float[Tensor, "tile feature"]
    ) -> Float[Tensor, "tile feature"]:
        """Return the update for every tile as if it were the only one; the token itself is not read."""
        return self.dropout(self.output(self.norm(tiles)))
