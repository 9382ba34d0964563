"""What a balancing method is: a map of task losses to weighted losses, or of task gradients to one gradient."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from napari_mtlpath.balancing.gramian import gramian_of, safe_weights


class LossBalancer(nn.Module, ABC):
    """Task losses -> weighted task losses. One public subclass per module of ``napari_mtlpath.balancing.losses``.

    Weights are on the scale of the sum: a method that treats all tasks alike gives every task the weight 1. What a
    method remembers lives in buffers and parameters, so that ``state_dict`` restores it.

    Parameters
    ----------
    tasks
        Names of all tasks of the model, in its order. Options of a method are further keyword arguments with defaults.

    Attributes
    ----------
    needs_losses_after_step
        Whether :meth:`step_ended` reads the losses of the same batch after the optimizer's step: one more forward pass.
    """

    needs_losses_after_step: ClassVar[bool] = False

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self._used: dict[str, float] = {}

    @abstractmethod
    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted losses of the tasks that are present; absent tasks are left out of the mapping.

        Implementations call :meth:`remember` with the weights that they used.
        """

    @property
    def needs_virtual_step(self) -> bool:
        """Whether the weights are learned from validation losses, see :class:`LearnsFromValidation`."""
        return isinstance(self, LearnsFromValidation)

    @property
    def weights(self) -> dict[str, float]:
        """What the loss of each task was last multiplied by."""
        return dict(self._used)

    def remember(self, weights: Mapping[str, float]) -> None:
        """Keep the weights that were used, for reports."""
        self._used = dict(weights)

    def epoch_ended(self, means: Mapping[str, float]) -> None:
        """Take note of the mean unweighted loss of each task over an epoch; a task never present is left out."""

    def step_ended(self, before: Mapping[str, float], after: Mapping[str, float] | None) -> None:
        """Take note of a batch's unweighted losses before and after the optimizer's step on it."""

    def own_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that the optimizer must move together with the model's, without weight decay."""
        return list(self.parameters())

    def index_of(self, task: str) -> int:
        """Return the place of a task among all tasks."""
        if task not in self.tasks:
            raise ValueError(f"This balancer was made for the tasks {', '.join(self.tasks)}; found a loss of {task!r}.")
        return self.tasks.index(task)


class LearnsFromValidation(LossBalancer):
    """A loss balancer whose weights follow the validation loss of the main tasks after a virtual step.

    Attributes
    ----------
    main
        Tasks whose validation losses count.
    """

    main: tuple[str, ...]

    @abstractmethod
    def current(self) -> dict[str, float]:
        """Return the weight of every task as it is now."""

    @abstractmethod
    def learn(self, slopes: Mapping[str, float]) -> None:
        """Take note of the derivatives of the validation loss by the weights; tasks may be left out."""


class GradientBalancer(nn.Module, ABC):
    """Task gradients -> one gradient. One public subclass per module of ``napari_mtlpath.balancing.gradients``.

    The result is on the scale of the sum of the rows. Options of a method are keyword arguments with defaults.
    Subclass :class:`GramianBalancer` where the result is a weighted sum of the rows whose weights depend on their inner
    products only: then no matrix of all gradients is ever made.

    Attributes
    ----------
    coordinatewise
        Whether each parameter is treated by itself, so that a large model may be given in pieces.
    order_matters
        Whether the order of the tasks, or chance, may change the result (beyond rounding).
    never_conflicts
        Whether the result never has a negative inner product with a row.
    """

    coordinatewise: ClassVar[bool] = False
    order_matters: ClassVar[bool] = False
    never_conflicts: ClassVar[bool] = False

    @abstractmethod
    def combine(
        self, gradients: Float[Tensor, "task parameter"], *, generator: torch.Generator
    ) -> Float[Tensor, " parameter"]:
        """Combine at least two finite, non-zero rows of float32 or float64, which stay as they are.

        `generator` (on the CPU) is the only source of chance.
        """

    def forward(
        self, gradients: Float[Tensor, "task parameter"], *, generator: torch.Generator
    ) -> Float[Tensor, " parameter"]:
        """Combine any rows, with the guards that every method gets.

        Rows that are zero (a task absent from the batch, a frozen path) are left out; one row that is left is returned
        as it is; rows that are not finite give their plain sum, not finite either, so that the caller sees it. Half
        precision is combined in float32.
        """
        exact = gradients if gradients.dtype in (torch.float32, torch.float64) else gradients.float()
        if exact.isfinite().all():
            exact = exact[exact.any(dim=1)]
            combined = self.combine(exact, generator=generator) if len(exact) > 1 else exact.sum(dim=0)
        else:
            combined = exact.sum(dim=0)
        return combined.to(gradients.dtype)


class GramianBalancer(GradientBalancer):
    """A gradient balancer that is ``w(J J^T) J``: weights from inner products, then one weighted sum.

    :meth:`weights` may count on a Gramian without zero rows, of at least two tasks, finite, scaled to a mean squared
    norm of 1, in float64 on the CPU: see :func:`napari_mtlpath.balancing.gramian.safe_weights`.
    """

    @abstractmethod
    def weights(self, gramian: Float64[Tensor, "task task"], *, generator: torch.Generator) -> Float64[Tensor, " task"]:
        """Return the weights of the rows, 1 each where all tasks are alike and do not conflict."""

    def weigh(self, gramian: Float64[Tensor, "task task"], *, generator: torch.Generator) -> Float64[Tensor, " task"]:
        """Return the weights for any Gramian, with the guards that every method gets."""
        return safe_weights(gramian, lambda guarded: self.weights(guarded, generator=generator))

    def combine(
        self, gradients: Float[Tensor, "task parameter"], *, generator: torch.Generator
    ) -> Float[Tensor, " parameter"]:
        """Combine the rows with :meth:`weigh`'s weights."""
        weights = self.weigh(gramian_of([[row] for row in gradients]), generator=generator)
        return weights.to(gradients) @ gradients
