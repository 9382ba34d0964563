"""A task's expert: it reads the tiles that its router chose, into the task's token and back into the tiles."""

from collections.abc import Sequence
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
    MLP
        No attention: the token takes the mean of the chosen tiles' values, weighted by the routing alone, then token
        and tiles pass the feed-forward network. Time and memory k. The router is the only thing here that can single
        out tiles, so it learns to; with attention beside it, it was seen to leave that to the attention.
    TOKEN
        The token reads the chosen tiles by attention multiplied by the routing weights; a tile passes only the
        feed-forward network. Time and memory k.
    FULL
        A whole transformer layer over [token; chosen tiles]: tiles read each other and the token too. Time k^2,
        memory k.
    """

    MLP = "mlp"
    TOKEN = "token"
    FULL = "full"


@dataclass(frozen=True, kw_only=True, eq=False)
class Routed:
    """An expert's result: the new token, [1, feature], and the chosen tiles, or None where nobody reads them."""

    token: Float[Tensor, "1 feature"]
    tiles: Float[Tensor, "chosen feature"] | None


class Expert(nn.Module):
    """One pre-norm layer over ``[T_m; F_m]``: ``[T'_m, F'_m] = Exp_m([T_m, F_m])`` (MECDS, section 2.2).

    The tiles arrive gathered, never masked. While training, with probability `token_dropout` the expert gets no token
    but as a query: the answer must then come from the chosen tiles alone. Without that, attention in the trunk, which
    lets the token read every tile, answers alone and the router need not choose well.

    Parameters
    ----------
    width, heads, hidden, dropout
        As in the trunk.
    mixing
        What rows exchange.
    token_dropout
        Probability, in [0, 1), of leaving the token out while training.
    """

    def __init__(
        self, width: int, *, heads: int, hidden: int, dropout: float, mixing: ExpertMixing, token_dropout: float
    ) -> None:
        super().__init__()
        self.mixing = mixing
        self.token_dropout = token_dropout
        self.read: TaskIsolatedAttention | RoutedMean
        if mixing is ExpertMixing.MLP:
            self.read = RoutedMean(width, dropout=dropout)
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
        keep = not self.training or float(torch.rand(())) >= self.token_dropout
        update = self._token_update(token, tiles, log_weights, keep=keep)
        new_token = token + update if keep else update
        new_token = new_token + self.feedforward(new_token)
        if not write:
            return Routed(token=new_token, tiles=None)
        mixed = self._mixed_tiles(token, tiles, keep=keep)
        return Routed(token=new_token, tiles=mixed + self.feedforward(mixed))

    def answer_each(
        self, token: Float[Tensor, "1 feature"], tiles: Float[Tensor, "tile feature"]
    ) -> Float[Tensor, "tile feature"]:
        """Return what each tile alone would give, shape [tile, feature]; time linear in the tiles.

        The token is left out, as it is in training; only where `token_dropout` is 0 it is in.
        """
        keep = self.token_dropout == 0.0
        answers = []
        for piece in pieces(tiles):
            update = self.read.read_each(token, piece, itself=keep)
            tokens = token + update if keep else update
            answers.append(tokens + self.feedforward(tokens))
        return torch.cat(answers)

    def _token_update(
        self,
        token: Float[Tensor, "1 feature"],
        tiles: Float[Tensor, "chosen feature"],
        log_weights: Float[Tensor, " chosen"],
        *,
        keep: bool,
    ) -> Float[Tensor, "1 feature"]:
        if isinstance(self.read, RoutedMean):
            return self.read(tiles, log_weights)
        return self.read.read(token, self.read.remember(tiles), log_weights, itself=keep).update

    def _mixed_tiles(
        self, token: Float[Tensor, "1 feature"], tiles: Float[Tensor, "chosen feature"], *, keep: bool
    ) -> Float[Tensor, "chosen feature"]:
        match self.mixing:
            case ExpertMixing.FULL:
                assert isinstance(self.read, TaskIsolatedAttention)
                rows = torch.cat([token, tiles]) if keep else tiles
                return self.read.mix(rows, self.read.remember(rows))[int(keep) :]
            case ExpertMixing.TOKEN | ExpertMixing.MLP:
                return tiles
            case _:
                assert_never(self.mixing)


def pieces(tiles: Float[Tensor, "tile feature"]) -> Sequence[Float[Tensor, "piece feature"]]:
    """Return the tiles in pieces of `EACH_CHUNK`; whole while torch records: a record knows no other length."""
    recording = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # torch does not type it
    return (tiles,) if recording else torch.split(tiles, EACH_CHUNK)


class RoutedMean(nn.Module):
    """The token's reading by routing alone: ``W_o sum(w_n W_v LayerNorm(F_n)) / sum(w_n)``."""

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, tiles: Float[Tensor, "chosen feature"], log_weights: Float[Tensor, " chosen"]
    ) -> Float[Tensor, "1 feature"]:
        """Return the update of the token, shape [1, feature]."""
        shares = torch.softmax(log_weights, dim=0)
        # The maps are linear and the shares sum to 1: averaging first costs k x C instead of k x C^2.
        return self.dropout(self.output(self.value(shares[None] @ self.norm(tiles))))

    def read_each(
        self, token: Float[Tensor, "1 feature"], tiles: Float[Tensor, "tile feature"], *, itself: bool
    ) -> Float[Tensor, "tile feature"]:
        """Return the update for every tile as if it were the only one; the token itself is never read."""
        return self.dropout(self.output(self.value(self.norm(tiles))))
