"""The position-wise network of a transformer layer."""

from jaxtyping import Float
from torch import Tensor, nn


class FeedForward(nn.Module):
    """``W2 GELU(W1 LayerNorm(x))`` for every row alone, without the residual.

    Parameters
    ----------
    width
        Features per row.
    hidden
        Features between the two linear maps.
    dropout
        Share of hidden and output values dropped while training.
    """

    def __init__(self, width: int, *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, width),
            nn.Dropout(dropout),
        )

    def forward(self, rows: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """Return the update of each row, shape [row, feature]."""
        return self.layers(rows)
