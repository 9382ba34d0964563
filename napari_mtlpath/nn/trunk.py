"""The shared part of one MECDS block: two task-isolated attention layers and a feed-forward network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from napari_mtlpath.nn.attention import Mixing, TaskIsolatedAttention, TileMemory
from napari_mtlpath.nn.feedforward import FeedForward


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixed:
    """Tiles, and the tokens that read them, after a trunk block.

    `logits` are those of each token's last attention layer over the tiles, [head, tile].
    """

    tiles: Float[Tensor, "tile feature"]
    tokens: list[Float[Tensor, "1 feature"]]
    logits: list[Float[Tensor, "head tile"]]


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


class TrunkBlock(nn.Module):
    """``x += TSA1(x); x += TSA2(x); x += FFN(x)``, pre-norm, for the tiles and for every token by itself."""

    def __init__(self, width: int, *, heads: int, hidden: int, dropout: float, mixing: Mixing, landmarks: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(
            TaskIsolatedAttention(width, heads=heads, dropout=dropout, mixing=mixing, landmarks=landmarks)
            for _ in range(2)
        )
        self.feedforward = FeedForward(width, hidden=hidden, dropout=dropout)

    def forward(
        self,
        tiles: Float[Tensor, "tile feature"],
        tokens: Sequence[Float[Tensor, "1 feature"]],
        *,
        represented: Callable[[Tensor], Tensor] = _as_it_is,
    ) -> Mixed:
        """Return the new tiles and tokens.

        `represented` is given everything that tokens and later parts read of the tiles, and returns what they are to
        read instead; the tiles themselves go on with what was computed.
        """
        current = list(tokens)
        logits: list[Tensor] = []
        for attention in self._attentions():
            memory = attention.remember(tiles)
            shown = TileMemory(keys=represented(memory.keys), values=represented(memory.values))
            # One token at a time, here and in the feed-forward network: a product over all tokens at once may round
            # differently when a task is added.
            reads = [attention.read(token, shown) for token in current]
            current = [token + read.update for token, read in zip(current, reads, strict=True)]
            logits = [read.logits for read in reads]
            tiles = attention.mix(tiles, memory)
        return Mixed(
            tiles=represented(tiles + self.feedforward(tiles)),
            tokens=[token + self.feedforward(token) for token in current],
            logits=logits,
        )

    def _attentions(self) -> list[TaskIsolatedAttention]:
        return list(self.attentions)  # type: ignore[arg-type]  # ModuleList forgets the type of its modules
