"""Task-isolated attention: tiles mix among themselves, each task token reads them alone."""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

LANDMARK_SPREAD = 0.02  # The usual start of learned tokens (Devlin et al., 2019, arXiv:1810.04805).


class Mixing(StrEnum):
    """How tiles exchange information in a task-isolated attention layer.

    Attributes
    ----------
    FULL
        Every tile attends to every tile; time N^2, memory N (flash attention). Right up to about 10,000 tiles.
    LANDMARK
        Learned landmarks read the tiles and the tiles read the landmarks: time and memory N x landmarks. It needs no
        coordinates and no order of the tiles, which windows would.
    NONE
        Tiles pass only their feed-forward network; time N. Tokens still read all tiles.
    """

    FULL = "full"
    LANDMARK = "landmark"
    NONE = "none"


@dataclass(frozen=True, kw_only=True, eq=False)
class TileMemory:
    """What tokens read of the tiles in one attention layer: computed once, whatever the number of tasks."""

    keys: Float[Tensor, "head tile channel"]
    values: Float[Tensor, "head tile channel"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenRead:
    """What one token gained: its update, [1, feature], and each head's logits over the tiles, [head, tile]."""

    update: Float[Tensor, "1 feature"]
    logits: Float[Tensor, "head tile"]


class TaskIsolatedAttention(nn.Module):
    r"""Pre-norm multi-head attention in which tokens never meet (Jiang et al., 2025, MECDS, section 2.2).

    Tiles read tiles, :math:`F_n \mathrel{+}= W_o \sum_j a_{nj} v_j`, and never a token. Token m reads itself and the
    tiles, :math:`a = softmax([q_m k_m, q_m k_1, \dots, q_m k_N])`, as a [1 x (1 + N)] row of its own: its arithmetic
    does not depend on how many other tasks there are, so adding one leaves the old outputs identical bit by bit, which
    one masked attention over [tokens; tiles] does not. No N x N or M x N mask exists: flash attention stays possible.
    Dropout acts on updates, not on attention weights: the latter would bring the N x N matrix back.

    Parameters
    ----------
    width
        Features per row, divisible by `heads`.
    heads
        Number of attention heads.
    dropout
        Share of update values dropped while training.
    mixing
        How tiles exchange information.
    landmarks
        Number of learned landmarks for ``Mixing.LANDMARK`` (induced set attention, Lee et al., 2019, arXiv:1810.00825).
    """

    def __init__(
        self, width: int, *, heads: int, dropout: float, mixing: Mixing = Mixing.NONE, landmarks: int = 64
    ) -> None:
        super().__init__()
        self.heads = heads
        self.mixing = mixing
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        if mixing is Mixing.LANDMARK:
            self.landmarks = nn.Parameter(LANDMARK_SPREAD * torch.randn(landmarks, width))
            self.landmark_key_value = nn.Linear(width, 2 * width)

    def remember(self, tiles: Float[Tensor, "tile feature"]) -> TileMemory:
        """Return the keys and values of the tiles."""
        keys, values = self._split_pair(self.key_value(self.norm(tiles)))
        return TileMemory(keys=keys, values=values)

    def mix(self, tiles: Float[Tensor, "tile feature"], memory: TileMemory) -> Float[Tensor, "tile feature"]:
        """Return the tiles after they exchanged information, residual included; tokens play no part."""
        match self.mixing:
            case Mixing.FULL:
                keys, values = memory.keys, memory.values
            case Mixing.LANDMARK:
                summary = self._attend(self._split(self.query(self.norm(self.landmarks))), memory.keys, memory.values)
                keys, values = self._split_pair(self.landmark_key_value(self.landmarks + summary))
            case Mixing.NONE:
                return tiles
            case _:
                assert_never(self.mixing)
        queries = self._split(self.query(self.norm(tiles)))
        return tiles + self.dropout(self.output(self._attend(queries, keys, values)))

    def read(
        self,
        token: Float[Tensor, "1 feature"],
        memory: TileMemory,
        log_weights: Float[Tensor, " tile"] | None = None,
        *,
        itself: bool = True,
    ) -> TokenRead:
        """Let one token read itself and the tiles.

        Parameters
        ----------
        token
            The token, shape [1, feature].
        memory
            What :meth:`remember` returned for the tiles.
        log_weights
            Logarithms of weights that multiply the tiles' attention before it is normalised; the token's own is 0.
        itself
            Whether the token reads itself; without, it is a query only.
        """
        normed = self.norm(token)
        query = self._split(self.query(normed)) * self._scale(memory)
        own_key, own_value = self._split_pair(self.key_value(normed))
        logits = (query @ memory.keys.transpose(1, 2)).squeeze(1)
        if log_weights is not None:
            logits = logits + log_weights
        own_logit = (query * own_key).sum(dim=2)
        if not itself:
            own_logit = torch.full_like(own_logit, -torch.inf)
        weights = torch.softmax(torch.cat([own_logit, logits], dim=1), dim=1).unsqueeze(1)
        gathered = weights[:, :, :1] * own_value + weights[:, :, 1:] @ memory.values
        return TokenRead(update=self.dropout(self.output(self._join(gathered))), logits=logits)

    def read_each(
        self, token: Float[Tensor, "1 feature"], tiles: Float[Tensor, "tile feature"], *, itself: bool
    ) -> Float[Tensor, "tile feature"]:
        """Return the token's update for every tile as if that tile were the only one, shape [tile, feature]."""
        memory = self.remember(tiles)
        if not itself:
            return self.dropout(self.output(self._join(memory.values)))
        normed = self.norm(token)
        query = self._split(self.query(normed)) * self._scale(memory)
        own_key, own_value = self._split_pair(self.key_value(normed))
        logits = query @ memory.keys.transpose(1, 2) - query @ own_key.transpose(1, 2)
        share = torch.sigmoid(logits).transpose(1, 2)
        return self.dropout(self.output(self._join(own_value + share * (memory.values - own_value))))

    def _attend(
        self,
        queries: Float[Tensor, "head row channel"],
        keys: Float[Tensor, "head key channel"],
        values: Float[Tensor, "head key channel"],
    ) -> Float[Tensor, "row feature"]:
        # Four axes: the flash kernels of torch take nothing else, and three fall back to the whole matrix.
        mixed = functional.scaled_dot_product_attention(queries[None], keys[None], values[None])
        return self._join(mixed[0])

    def _scale(self, memory: TileMemory) -> float:
        return float(memory.keys.shape[2]) ** -0.5

    def _split(self, rows: Float[Tensor, "row feature"]) -> Float[Tensor, "head row channel"]:
        return rows.reshape(rows.shape[0], self.heads, -1).transpose(0, 1)

    def _split_pair(
        self, rows: Float[Tensor, "row double"]
    ) -> tuple[Float[Tensor, "head row channel"], Float[Tensor, "head row channel"]]:
        first, second = rows.chunk(2, dim=1)
        return self._split(first), self._split(second)

    def _join(self, heads: Float[Tensor, "head row channel"]) -> Float[Tensor, "row feature"]:
        return heads.transpose(0, 1).flatten(1)


def attention_over_tiles(logits: Float[Tensor, "head tile"]) -> Float[Tensor, " tile"]:
    """Return a token's attention over the tiles: self term removed, each head renormalised, mean over heads."""
    return torch.softmax(logits, dim=1).mean(dim=0)
