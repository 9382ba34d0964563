"""Nyström attention: softmax attention through landmarks, in time and memory linear in the rows."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

INVERSE_STEPS = 6  # Xiong et al., 2021, section 3.2: enough for the pseudo-inverse of a softmax matrix.


class NystromAttention(nn.Module):
    r"""Multi-head self-attention approximated through landmarks (Xiong et al., 2021, arXiv:2102.03902, eq. 13).

    With the l landmarks :math:`\tilde Q, \tilde K` the means of l runs of consecutive rows,
    :math:`softmax(Q K^T) \approx softmax(Q \tilde K^T)\, softmax(\tilde Q \tilde K^T)^+\, softmax(\tilde Q K^T)`, all
    products scaled by :math:`1 / \sqrt d`. With no more rows than landmarks it is the attention itself, and that is
    what is computed. Runs differ by at most one row in length where l does not divide the number of rows, so no row is
    padded.

    Parameters
    ----------
    width
        Features per row, divisible by `heads`.
    heads
        Number of attention heads.
    landmarks
        l.
    """

    def __init__(self, width: int, *, heads: int, landmarks: int) -> None:
        super().__init__()
        self.heads = heads
        self.landmarks = landmarks
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width)

    def forward(self, rows: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """Return what every row reads of all rows."""
        queries, keys, values = self._split(rows)
        if len(rows) <= self.landmarks:
            mixed = functional.scaled_dot_product_attention(queries[None], keys[None], values[None])[0]
        else:
            near, far = means(queries, self.landmarks), means(keys, self.landmarks)
            gathered = _attention(near, keys) @ values
            mixed = _attention(queries, far) @ (pseudo_inverse(_attention(near, far)) @ gathered)
        return self.output(mixed.transpose(0, 1).flatten(1))

    def weights(self, rows: Float[Tensor, "row feature"], *, first: int) -> Float[Tensor, "head first row"]:
        """Return the attention of the first `first` rows over all rows; the approximation may be a little negative."""
        queries, keys, _ = self._split(rows)
        if len(rows) <= self.landmarks:
            return _attention(queries[:, :first], keys)
        near, far = means(queries, self.landmarks), means(keys, self.landmarks)
        chosen = _attention(queries[:, :first], far) @ pseudo_inverse(_attention(near, far))
        return chosen @ _attention(near, keys)

    def _split(self, rows: Float[Tensor, "row feature"]) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.query_key_value(rows).reshape(rows.shape[0], 3, self.heads, -1)
        queries, keys, values = parts.permute(1, 2, 0, 3)
        return queries, keys, values


def means(rows: Float[Tensor, "head row channel"], count: int) -> Float[Tensor, "head landmark channel"]:
    """Return the means of `count` runs of consecutive rows, as even in length as can be.

    Examples
    --------
    >>> means(torch.tensor([[[1.0], [3.0], [5.0], [7.0], [20.0]]]), 2).flatten().tolist()
    [2.0, 10.666666984558105]
    """
    total = rows.shape[1]
    ends = torch.arange(1, count + 1, device=rows.device) * total // count
    lengths = torch.diff(ends, prepend=ends.new_zeros(1))
    run = torch.repeat_interleave(torch.arange(count, device=rows.device), lengths)
    sums = rows.new_zeros(rows.shape[0], count, rows.shape[2]).index_add(1, run, rows)
    return sums / lengths[:, None]


def pseudo_inverse(matrices: Float[Tensor, "head landmark landmark"]) -> Float[Tensor, "head landmark landmark"]:
    """Return each matrix's Moore-Penrose inverse by six third-order steps (Xiong et al., 2021, eq. 11)."""
    identity = torch.eye(matrices.shape[1], dtype=matrices.dtype, device=matrices.device)
    columns, rows = matrices.abs().sum(dim=1).amax(dim=1), matrices.abs().sum(dim=2).amax(dim=1)
    inverse = matrices.transpose(1, 2) / (columns * rows)[:, None, None]
    for _ in range(INVERSE_STEPS):
        product = matrices @ inverse
        inner = 15.0 * identity - product @ (7.0 * identity - product)
        inverse = 0.25 * inverse @ (13.0 * identity - product @ inner)
    return inverse


def _attention(
    queries: Float[Tensor, "head query channel"], keys: Float[Tensor, "head key channel"]
) -> Float[Tensor, "head query key"]:
    return torch.softmax(queries @ keys.transpose(1, 2) / queries.shape[2] ** 0.5, dim=2)
