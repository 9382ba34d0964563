"""Encoder and decoder layers with the norm after each residual sum, as in the first transformer."""

from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_mtlpath.nn.attention import LANDMARK_SPREAD, Mixing
from napari_mtlpath.nn.multihead import MultiHeadAttention


def position_wise(width: int, *, hidden: int, dropout: float) -> nn.Sequential:
    """Return ``W2 ReLU(W1 x)`` for every row alone."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, width))


class EncoderLayer(nn.Module):
    """``x = LN(x + Attention(x)); x = LN(x + FFN(x))`` over the tiles of one bag.

    Parameters
    ----------
    width, heads
        Features per tile and attention heads.
    hidden
        Features between the two maps of the feed-forward network.
    dropout
        Share of update and hidden values dropped while training; attention weights are never dropped.
    mixing, landmarks
        How tiles exchange information; ``none`` leaves the attention and its norm out.
    """

    def __init__(self, width: int, *, heads: int, hidden: int, dropout: float, mixing: Mixing, landmarks: int) -> None:
        super().__init__()
        self.mixing = mixing
        self.dropout = nn.Dropout(dropout)
        if mixing is not Mixing.NONE:
            self.attention = MultiHeadAttention(width, heads=heads)
            self.attention_norm = nn.LayerNorm(width)
        if mixing is Mixing.LANDMARK:
            self.landmarks = nn.Parameter(LANDMARK_SPREAD * torch.randn(1, landmarks, width))
            self.gathering = MultiHeadAttention(width, heads=heads)
        self.feedforward = position_wise(width, hidden=hidden, dropout=dropout)
        self.feedforward_norm = nn.LayerNorm(width)

    def forward(self, tiles: Float[Tensor, "1 tile feature"]) -> Float[Tensor, "1 tile feature"]:
        """Return the new tiles."""
        match self.mixing:
            case Mixing.FULL:
                tiles = self._mixed(tiles, tiles)
            case Mixing.LANDMARK:
                read = self.landmarks + self.gathering(self.landmarks, self.gathering.remember(tiles))
                tiles = self._mixed(tiles, read)
            case Mixing.NONE:
                pass
            case _:
                assert_never(self.mixing)
        return self.feedforward_norm(tiles + self.dropout(self.feedforward(tiles)))

    def _mixed(
        self, tiles: Float[Tensor, "1 tile feature"], read: Float[Tensor, "1 row feature"]
    ) -> Float[Tensor, "1 tile feature"]:
        return self.attention_norm(tiles + self.dropout(self.attention(tiles, self.attention.remember(read))))


class DecoderLayer(nn.Module):
    """``q = LN(q + SelfAttention(q)); q = LN(q + CrossAttention(q, tiles)); q = LN(q + FFN(q))``.

    Parameters
    ----------
    width, heads, hidden, dropout
        As for :class:`EncoderLayer`.
    """

    def __init__(self, width: int, *, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.own = MultiHeadAttention(width, heads=heads)
        self.own_norm = nn.LayerNorm(width)
        self.cross = MultiHeadAttention(width, heads=heads)
        self.cross_norm = nn.LayerNorm(width)
        self.feedforward = position_wise(width, hidden=hidden, dropout=dropout)
        self.feedforward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def settle(self, queries: Float[Tensor, "batch query feature"]) -> Float[Tensor, "batch query feature"]:
        """Return the queries after they read each other."""
        return self.own_norm(queries + self.dropout(self.own(queries, self.own.remember(queries))))

    def finish(
        self, queries: Float[Tensor, "batch query feature"], update: Float[Tensor, "batch read feature"]
    ) -> Float[Tensor, "batch query feature"]:
        """Return the queries after `update`, what each (or all alike) read of the tiles, and the FFN."""
        queries = self.cross_norm(queries + self.dropout(update))
        return self.feedforward_norm(queries + self.dropout(self.feedforward(queries)))
