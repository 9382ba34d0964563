"""Multi-head attention without norm and residual: query rows read memory rows."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, kw_only=True, eq=False)
class Memory:
    """Keys and values of rows that others read: computed once, whatever the number of readers."""

    keys: Float[Tensor, "batch head row channel"]
    values: Float[Tensor, "batch head row channel"]


class MultiHeadAttention(nn.Module):
    r"""``W_o softmax(Q K^T / sqrt(d)) V`` (Vaswani et al., 2017, arXiv:1706.03762, section 3.2.2).

    Nothing is dropped from the attention weights: that would bring the [row, row] matrix back, which fused kernels
    never hold.

    Parameters
    ----------
    width
        Features per row, divisible by `heads`.
    heads
        Number of attention heads.
    """

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def remember(self, rows: Float[Tensor, "batch row feature"]) -> Memory:
        """Return the keys and values of `rows`."""
        return Memory(keys=self._split(self.key(rows)), values=self._split(self.value(rows)))

    def forward(
        self, rows: Float[Tensor, "batch query feature"], memory: Memory
    ) -> Float[Tensor, "batch query feature"]:
        """Return what each row reads of `memory`."""
        read = functional.scaled_dot_product_attention(self._split(self.query(rows)), memory.keys, memory.values)
        return self.output(read.transpose(1, 2).flatten(2))

    def logits(
        self, rows: Float[Tensor, "batch query feature"], memory: Memory
    ) -> Float[Tensor, "batch head query row"]:
        """Return the attention before its softmax."""
        queries = self._split(self.query(rows))
        return queries @ memory.keys.transpose(2, 3) / queries.shape[3] ** 0.5

    def read_one(self, rows: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """Return what anybody reads of a memory that holds one row, for each row: its value, whatever is asked."""
        return self.output(self.value(rows))

    def _split(self, rows: Float[Tensor, "batch row feature"]) -> Float[Tensor, "batch head row channel"]:
        return rows.reshape(rows.shape[0], rows.shape[1], self.heads, -1).transpose(1, 2)
