"""Inner products of task gradients, and the guards under which methods turn them into weights."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

COLUMNS = 65_536  # Columns taken to float64 at a time: enough that calls cost nothing, few enough for a cache.
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
    found: dict[tuple[torch.device, tuple[int, ...]], _Products] = {}
    for pieces in zip(*rows, strict=True):
        present = tuple(task for task, piece in enumerate(pieces) if piece is not None)
        flat = [piece.detach().flatten() for piece in pieces if piece is not None]
        if not flat:
            continue
        if flat[0].device.type == "mps":  # It has no float64.
            flat = [piece.cpu() for piece in flat]
        device = flat[0].device
        if (device, present) not in found:
            found[device, present] = _Products(len(present), device=device)
        found[device, present].add(flat)
    gramian = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for (_, present), products in found.items():
        where = torch.tensor(present)
        gramian[where[:, None], where[None, :]] += products.total()
    return gramian


class _Products:
    """Inner products of as many rows as there are, of which pieces come one after the other."""

    def __init__(self, count: int, *, device: torch.device) -> None:
        self._lower = torch.zeros(count, count, dtype=torch.float64, device=device)
        self._block = torch.empty(count, COLUMNS, dtype=torch.float64, device=device)
        self._filled = 0

    def add(self, flat: Sequence[Tensor]) -> None:
        """Add a piece of every row, all of one length."""
        start = 0
        while start < len(flat[0]):
            taken = min(COLUMNS - self._filled, len(flat[0]) - start)
            for row, piece in zip(self._block, flat, strict=True):
                row[self._filled : self._filled + taken] = piece[start : start + taken]
            start += taken
            self._filled += taken
            if self._filled == COLUMNS:
                self._multiply()

    def total(self) -> Float64[Tensor, "task task"]:
        """Return the inner products of all that was added, on the CPU."""
        self._multiply()
        lower = self._lower.cpu()
        return lower + lower.tril(-1).T

    def _multiply(self) -> None:
        block = self._block[:, : self._filled]
        for place, row in enumerate(block):  # one triangle: half the work of block @ block.T
            self._lower[place, : place + 1] += block[: place + 1] @ row
        self._filled = 0


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
