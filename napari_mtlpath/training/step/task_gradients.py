"""The gradients of several task losses at the same tensors, and their replacement by one."""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from napari_mtlpath.balancing.contract import GradientBalancer, GramianBalancer
from napari_mtlpath.balancing.gramian import cosines_of, gramian_of

Pieces = list[Tensor | None]


class TaskGradients:
    """Per task its gradient at `points`, in one piece per point; None where its loss does not reach a point.

    Made by plain backward passes, one per task, so that everything that is not a point gets its plain gradient.
    """

    def __init__(self, points: Sequence[Tensor], rows: list[Pieces], earlier: Pieces) -> None:
        self.points = points
        self.rows = rows
        self.earlier = earlier

    @classmethod
    def of(cls, losses: Mapping[str, Tensor], points: Sequence[Tensor]) -> "TaskGradients":
        """Backpropagate each loss, divided by their number, and take what arrives at the points.

        ``.grad`` of the points is None afterwards; what was there is added again by :meth:`balance`.
        """
        earlier = _take(points)
        rows = []
        for place, loss in enumerate(losses.values()):
            share = loss / len(losses)
            share.backward(retain_graph=place + 1 < len(losses))  # type: ignore[no-untyped-call]  # torch's own
            rows.append(_take(points))
        return cls(points, rows, earlier)

    @staticmethod
    def measured(losses: Mapping[str, Tensor], points: Sequence[Tensor]) -> Float64[Tensor, "task task"]:
        """Return the cosines between task gradients at the points; no ``.grad`` changes and the graph is kept."""
        rows = [torch.autograd.grad(loss, points, retain_graph=True, allow_unused=True) for loss in losses.values()]
        return cosines_of(gramian_of(rows))

    def balance(
        self, method: GradientBalancer, *, generator: torch.Generator, cosines: bool
    ) -> Float64[Tensor, "task task"] | None:
        """Write the balanced gradient to ``.grad`` of the points and return the cosines where they are known.

        The task gradients are used up: their memory becomes that of the result, point by point.
        """
        gramian = gramian_of(self.rows) if cosines or isinstance(method, GramianBalancer) else None
        if isinstance(method, GramianBalancer) and gramian is not None:
            weights = method.weigh(gramian, generator=generator).tolist()
            self._replace(lambda pieces: _weighted_sum(pieces, weights))
        elif method.coordinatewise:
            self._replace(lambda pieces: _combined(pieces, method, generator))
        else:
            self._replace_all(method, generator)
        return None if gramian is None else cosines_of(gramian)

    def _replace(self, combine: Callable[[Pieces], Tensor | None]) -> None:
        for place, point in enumerate(self.points):
            pieces = [row[place] for row in self.rows]
            for row in self.rows:
                row[place] = None
            self._set(place, point, combine(pieces))

    def _replace_all(self, method: GradientBalancer, generator: torch.Generator) -> None:
        reached = [place for place in range(len(self.points)) if any(row[place] is not None for row in self.rows)]
        zeros = {place: torch.zeros_like(self.points[place]) for place in reached}
        flat = [torch.cat([_or(row[place], zeros[place]).flatten() for place in reached]) for row in self.rows]
        pieces = method(torch.stack(flat), generator=generator).split([zeros[place].numel() for place in reached])
        for place, piece in zip(reached, pieces, strict=True):
            self._set(place, self.points[place], piece.view_as(zeros[place]).clone())

    def _set(self, place: int, point: Tensor, gradient: Tensor | None) -> None:
        earlier = self.earlier[place]
        if gradient is not None and earlier is not None:
            gradient += earlier
        point.grad = earlier if gradient is None else gradient


def _take(points: Sequence[Tensor]) -> Pieces:
    taken = [point.grad for point in points]
    for point in points:
        point.grad = None
    return taken


def _or(piece: Tensor | None, otherwise: Tensor) -> Tensor:
    return otherwise if piece is None else piece


def _weighted_sum(pieces: Pieces, weights: Sequence[float]) -> Tensor | None:
    """Return the weighted sum of the pieces that are there, in the memory of the first of them."""
    present = [(piece, weight) for piece, weight in zip(pieces, weights, strict=True) if piece is not None]
    if not present:
        return None
    first, weight = present[0]
    exact = first if first.dtype in (torch.float32, torch.float64) else first.float()
    total = exact.mul_(weight)
    for piece, factor in present[1:]:
        total.add_(piece, alpha=factor)
    return total.to(first.dtype)


def _combined(pieces: Pieces, method: GradientBalancer, generator: torch.Generator) -> Tensor | None:
    """Return a method's result at one point."""
    present = [piece for piece in pieces if piece is not None]
    if not present:
        return None
    matrix = torch.stack([piece.flatten() for piece in present])
    return method(matrix, generator=generator).view_as(present[0])
