"""Task heads: from an embedding to a task's logits."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadOutput:
    """What a head read and what it said, one row each."""

    embedding: Float[Tensor, "row feature"]
    logits: Float[Tensor, "row output"]


class Head(nn.Module):
    """``W LayerNorm(x) + b``: one logit for a binary or regression task, K for K classes."""

    def __init__(self, width: int, *, outputs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, outputs)

    def forward(self, rows: Float[Tensor, "row feature"]) -> HeadOutput:
        """Return the normalised rows and their logits."""
        embedding = self.norm(rows)
        return HeadOutput(embedding=embedding, logits=self.linear(embedding))
