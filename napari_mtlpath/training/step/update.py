"""One optimisation step's gradients: task losses in, ``.grad`` of every parameter out."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from napari_mtlpath.balancing.balancer import Balancer
from napari_mtlpath.balancing.chance import fresh_seed
from napari_mtlpath.balancing.contract import LearnsFromValidation
from napari_mtlpath.nn.representation import Representation
from napari_mtlpath.training.step.task_gradients import TaskGradients
from napari_mtlpath.training.step.virtual_step import Losses, validation_slopes


class Level(StrEnum):
    """Where gradient methods compare the tasks.

    Attributes
    ----------
    SHARED_PARAMETERS
        At the shared parameters, as published; costs one backward pass through the shared part per task.
    REPRESENTATION
        At the shared representation, an approximation; costs one pass through the shared part.
    """

    SHARED_PARAMETERS = "parameters"
    REPRESENTATION = "representation"


@runtime_checkable
class SharedModule(Protocol):
    """A module that says which of its parameters belong to no task alone."""

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that belong to no task alone."""


@runtime_checkable
class RepresentedModule(Protocol):
    """A module that hands out its shared representation while a recording is set."""

    representation: Representation | None
    represents: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class StepFacts:
    """What one step saw.

    Attributes
    ----------
    tasks
        The tasks present, in the order of the losses.
    losses
        Unweighted loss of each.
    weights
        What each loss was multiplied by.
    cosines
        Cosines of the angles between their gradients, in [-1, 1], in the order of `tasks`; None where not measured.
    """

    tasks: tuple[str, ...]
    losses: dict[str, float]
    weights: dict[str, float]
    cosines: Float64[Tensor, "task task"] | None = None


class Update:
    """Turns task losses into gradients by a balancing method.

    The total loss is the mean of the weighted losses over the tasks present. A gradient method replaces the mean of the
    task gradients for the shared parameters; all other parameters (a task's own, and the balancer's) get the plain
    gradient of that mean, and parameters that no loss reaches keep ``None``. Gradients are added to those that are
    there, as ``Tensor.backward`` does.

    At ``level="representation"`` the rows that are compared are the gradients at the tensors that the module hands out
    (inside :meth:`recording`) together with those of shared parameters used after them. Everything below those tensors,
    private or shared, gets the one balanced gradient: the upper-bound approximation of MGDA-UB (Sener and Koltun, 2018,
    arXiv:1810.04650, section 3.3), for any gradient method.

    Parameters
    ----------
    module
        What is optimised. With a gradient method it must have ``shared_parameters()``, as every aggregator has.
    balancer
        What :func:`napari_mtlpath.balancing.balancer.parse` returned.
    level
        Where gradient methods compare the tasks.
    generator
        Source of chance, on the CPU; seeded with 0 if not given. Its state is part of :meth:`state_dict`.

    Examples
    --------
    >>> from napari_mtlpath.balancing.balancer import parse
    >>> layer = nn.Linear(2, 2)
    >>> update = Update(layer, parse("equal", tasks=["a", "b"]))
    >>> first, second = layer(torch.ones(2)).square()
    >>> update.backward({"a": first, "b": second}).weights
    {'a': 1.0, 'b': 1.0}
    """

    def __init__(
        self,
        module: nn.Module,
        balancer: Balancer,
        *,
        level: str = Level.SHARED_PARAMETERS,
        generator: torch.Generator | None = None,
    ) -> None:
        self.module = module
        self.balancer = balancer
        self.level = Level(level)
        self.generator = generator or torch.Generator().manual_seed(0)
        self._recorded: Representation | None = None
        self._looks_ahead = False
        if balancer.gradients is not None:
            _check(module, balancer.name, self.level)

    @property
    def uses_representation(self) -> bool:
        """Whether forward passes must run inside :meth:`recording`."""
        return self.balancer.gradients is not None and self.level is Level.REPRESENTATION

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Wrap the forward passes of one step, so that the module hands out its shared representation.

        It does nothing at the level of parameters, without a gradient method, or within :meth:`virtual_step`, so a loop
        may always enter it.
        """
        if not self.uses_representation or self._looks_ahead:
            yield
            return
        assert isinstance(self.module, RepresentedModule)  # checked when made; tells the type checker
        self._recorded = self.module.representation = Representation()
        try:
            yield
        finally:
            self.module.representation = None

    def backward(
        self, losses: Mapping[str, Tensor], *, cosines: bool = False, representation: Representation | None = None
    ) -> StepFacts:
        """Add this step's gradients to ``.grad`` of every parameter that a loss reaches.

        Parameters
        ----------
        losses
            One loss, a scalar tensor, per task present in the batch; absent tasks are left out.
        cosines
            Measure the cosines between task gradients even if the method does not need them, which costs a backward
            pass per task. Methods that work on inner products report them always.
        representation
            What the forward passes handed out, if not recorded by :meth:`recording`.

        Raises
        ------
        ValueError
            If there is no loss, or the level is that of the representation and nothing was recorded.
        """
        if not losses:
            raise ValueError("Expected the loss of at least one task; found none. Leave out batches without labels.")
        weighted = self.balancer.losses(losses)
        measured = self._balance(weighted, cosines, representation or self._recorded)
        self._recorded = None
        values = torch.stack([loss.detach() for loss in losses.values()]).tolist()
        return StepFacts(
            tasks=tuple(losses),
            losses=dict(zip(losses, values, strict=True)),
            weights={task: self.balancer.losses.weights[task] for task in losses},
            cosines=measured,
        )

    def virtual_step(
        self, *, train: Losses, validation: Losses, learning_rate: float, weight_decay: float = 0.0
    ) -> dict[str, float]:
        """Let a loss balancer with ``needs_virtual_step`` (Auto-Lambda) learn its weights, before a step is taken.

        Parameters
        ----------
        train, validation
            Compute the losses by task of one fixed batch, the one of the coming step and one that is not trained on.
            They are called several times, in evaluation mode and from one seed; only the weights differ.
        learning_rate, weight_decay
            Of the coming step.

        Returns
        -------
        dict
            The derivative of the validation loss by each weight that the balancer learned from.
        """
        losses = self.balancer.losses
        if not isinstance(losses, LearnsFromValidation):
            raise TypeError(f"Balancing method {self.balancer.name!r} learns nothing from validation batches.")
        self._looks_ahead = True
        try:
            slopes = validation_slopes(
                self.module,
                train=train,
                validation=validation,
                weights=losses.current(),
                main=losses.main,
                learning_rate=learning_rate,
                weight_decay=weight_decay,
                seed=fresh_seed(self.generator),
            )
        finally:
            self._looks_ahead = False
        losses.learn(slopes)
        return slopes

    def own_parameters(self) -> list[nn.Parameter]:
        """Return the balancer's parameters, for a group of the optimizer without weight decay."""
        return self.balancer.losses.own_parameters()

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs."""
        return {"balancer": self.balancer.state_dict(), "generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.balancer.load_state_dict(state["balancer"])
        self.generator.set_state(state["generator"])

    def _balance(
        self, weighted: Mapping[str, Tensor], cosines: bool, representation: Representation | None
    ) -> Float64[Tensor, "task task"] | None:
        method = self.balancer.gradients
        points = self._points(representation) if method is not None or cosines else []
        if method is None or not points:
            measured = TaskGradients.measured(weighted, points) if points else None
            torch.stack(list(weighted.values())).mean().backward()  # type: ignore[no-untyped-call]  # torch's own
        else:
            gradients = TaskGradients.of(weighted, points)
            measured = gradients.balance(method, generator=self.generator, cosines=cosines)
        if representation is not None:  # also where nothing shared learns: what is private may lie below it
            _carry_on(representation)
        return measured

    def _points(self, representation: Representation | None) -> list[Tensor]:
        """Return the tensors at which tasks are compared: shared parameters and, at that level, handed out tensors."""
        if not isinstance(self.module, SharedModule):
            return []
        shared: list[Tensor] = [parameter for parameter in self.module.shared_parameters() if parameter.requires_grad]
        if not self.uses_representation or not shared:
            return shared
        if representation is None:
            raise ValueError(
                "Balancing at the shared representation needs a recording of the forward passes; found none. "
                "Compute the losses inside Update.recording(), or set level to 'parameters'."
            )
        return [*representation.leaves, *shared]


def _carry_on(representation: Representation) -> None:
    """Send the balanced gradients of the leaves on through the shared part, in one pass."""
    pairs = [
        (computed, leaf.grad)
        for computed, leaf in zip(representation.computed, representation.leaves, strict=True)
        if leaf.grad is not None
    ]
    if pairs:
        torch.autograd.backward([computed for computed, _ in pairs], [gradient for _, gradient in pairs])


def _check(module: nn.Module, method: str, level: Level) -> None:
    if not isinstance(module, SharedModule):
        raise TypeError(
            f"Balancing method {method!r} needs a module that tells its shared parameters, with shared_parameters(); "
            f"found {type(module).__name__}. Use a loss method, or an aggregator."
        )
    if level is Level.REPRESENTATION and not (isinstance(module, RepresentedModule) and module.represents):
        raise TypeError(
            f"Balancing at the shared representation needs a module that hands it out; {type(module).__name__} does "
            "not. Set level to 'parameters'."
        )
