"""Inner products of task gradients, and the guards under which methods turn them into weights."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

PIECE = 16_384  # Columns taken to float64 at a time: a few rows of them stay in a processor's cache.
NEGLIGIBLE = 1e-24  # A squared norm below this share of the largest is rounding noise of float32.

Weigh = Callable[[Tensor], Tensor]


def gramian_of(rows: Sequence[Sequence[Tensor | None]]) -> Float64[Tensor, "task task"]:
    """Return the inner products of task gradients in float64, on the CPU, without a flat copy of the gradients.

    Parameters
    ----------
    rows
        Per task its gradient in pieces, one per parameter, the same shapes for every task; None where a task does not
        reach a parameter.

    Examples
    --------
    >>> gramian_of([[torch.tensor([3.0, 4.0])], [torch.tensor([1.0, 0.0])], [None]]).tolist()
    [[25.0, 3.0, 0.0], [3.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    totals: dict[torch.device, Tensor] = {}
    for pieces in zip(*rows, strict=True):
        present = [task for task, piece in enumerate(pieces) if piece is not None]
        flat = [piece.detach().flatten() for piece in pieces if piece is not None]
        if not flat:
            continue
        if flat[0].device.type == "mps":  # It has no float64.
            flat = [piece.cpu() for piece in flat]
        device = flat[0].device
        total = totals.setdefault(device, torch.zeros(len(rows), len(rows), dtype=torch.float64, device=device))
        where = torch.tensor(present, device=device)
        exact = torch.empty(len(flat), min(PIECE, len(flat[0])), dtype=torch.float64, device=device)
        for start in range(0, len(flat[0]), PIECE):
            block = exact[:, : len(flat[0]) - start]
            for row, piece in zip(block, flat, strict=True):
                row.copy_(piece[start : start + PIECE])
            total.index_put_((where[:, None], where[None, :]), block @ block.T, accumulate=True)
    gramian = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for total in totals.values():
        gramian += total.cpu()
    return gramian


def cosines_of(gramian: Float64[Tensor, "task task"]) -> Float64[Tensor, "task task"]:
    """Return the cosines of the angles between task gradients; 0 where a gradient is zero, and 1 on the diagonal."""
    norms = gramian.diagonal().clamp(min=0.0).sqrt()
    lengths = norms.clamp(min=torch.finfo(torch.float64).tiny)
    cosines = (gramian / lengths[:, None] / lengths[None, :]).clamp(-1.0, 1.0)
    return cosines.fill_diagonal_(1.0)


def safe_weights(gramian: Float64[Tensor, "task task"], weigh: Weigh) -> Float64[Tensor, " task"]:
    """Return the weights of all rows from a method that may not know every case.

    - Rows that are zero (a task absent from the batch, a frozen path) get weight 0 and are not shown to the method.
    - One row that is left keeps weight 1: a lone task is not balanced.
    - The Gramian is scaled to a mean squared norm of 1, so that no threshold of a method or solver is met by accident.
    - A Gramian that is not finite gives weights of 1: the plain sum, not finite either, so that the caller sees it.

    Parameters
    ----------
    gramian
        Inner products of all rows, in float64.
    weigh
        Gramian of at least two non-zero rows -> their weights, unchanged by a common factor.
    """
    weights = torch.zeros(len(gramian), dtype=torch.float64)
    if not gramian.isfinite().all():
        return torch.ones_like(weights)
    squares = gramian.diagonal()
    kept = (squares > NEGLIGIBLE * squares.max()).nonzero().squeeze(1)
    if len(kept) < 2:
        weights[kept] = 1.0
        return weights
    guarded = gramian[kept][:, kept]
    weights[kept] = weigh(guarded / guarded.diagonal().mean())
    return weights
