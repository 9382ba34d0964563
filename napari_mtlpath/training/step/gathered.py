"""Gradients of tasks summed over the parts of a step, and losses that stand for them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from napari_mtlpath.training.loop.distributed import Processes


class GatheredGradients:
    """Per loss its gradient at `parameters`, summed over batches and processes; None where none reaches a parameter.

    Memory: one copy of the parameters per loss, however many parts there are.

    Parameters
    ----------
    names
        What the losses are called.
    parameters
        Where the gradients are taken.
    scale
        What losses are multiplied by before each backward pass; sums come out without it.
    """

    def __init__(self, names: Sequence[str], parameters: Sequence[nn.Parameter], *, scale: float = 1.0) -> None:
        self.parameters = list(parameters)
        self.scale = scale
        self.rows: dict[str, list[Tensor | None]] = {name: [None] * len(self.parameters) for name in names}

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Add one part's gradients; `losses` are already weighted by the part's share of the whole.

        Nothing is added unless all backward passes succeed.
        """
        parts = {}
        for place, (name, loss) in enumerate(losses.items()):
            last = place + 1 == len(losses)
            parts[name] = torch.autograd.grad(
                loss * self.scale, self.parameters, retain_graph=not last, allow_unused=True
            )
        for name, pieces in parts.items():
            row = self.rows[name]
            for place, piece in enumerate(pieces):
                if piece is not None:
                    row[place] = _plus(row[place], piece / self.scale)

    def sum_over(self, processes: Processes) -> None:
        """Add up what the processes have; a parameter that a loss reached in any of them has a gradient in all."""
        if processes.size == 1:
            return
        names = list(self.rows)
        reached = torch.tensor([[piece is not None for piece in self.rows[name]] for name in names]).float()
        processes.sum(reached)
        for name, reach in zip(names, reached.tolist(), strict=True):
            row = self.rows[name]
            for place, (parameter, some) in enumerate(zip(self.parameters, reach, strict=True)):
                if some and row[place] is None:
                    row[place] = torch.zeros_like(parameter)
            processes.sum_all([piece for piece in row if piece is not None])

    @property
    def finite(self) -> bool:
        """Whether no gradient overflowed."""
        pieces = (piece for row in self.rows.values() for piece in row if piece is not None)
        return all(bool(torch.isfinite(piece).all()) for piece in pieces)

    def losses(self, values: Mapping[str, float]) -> dict[str, Tensor]:
        """Return losses of these values whose gradients are exactly the summed ones."""
        return {name: _standing_for(values[name], self.parameters, row) for name, row in self.rows.items()}

    def write(self, name: str) -> None:
        """Make the gradients of one loss those of the parameters."""
        for parameter, piece in zip(self.parameters, self.rows[name], strict=True):
            parameter.grad = piece


def _plus(first: Tensor | None, second: Tensor) -> Tensor:
    return second if first is None else first.add_(second)


class _KnownGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor], *parameters: Tensor) -> Tensor:  # noqa: ANN401
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401  torch's own context
        return (None, None, *(gradient * outer[0] for gradient in ctx.gradients))


def _standing_for(value: float, parameters: Sequence[nn.Parameter], row: Sequence[Tensor | None]) -> Tensor:
    reached = [(p, piece) for p, piece in zip(parameters, row, strict=True) if piece is not None]
    held = torch.tensor(value, device=parameters[0].device)
    return _KnownGradient.apply(held, [piece for _, piece in reached], *(p for p, _ in reached))  # type: ignore[no-untyped-call]  # torch's own
