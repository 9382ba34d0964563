"""How a module is optimised: the settings of the training loop and the optimizer's groups."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import nn


class Precision(StrEnum):
    """What the forward pass computes in; weights and optimizer stay in float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"

    @property
    def dtype(self) -> torch.dtype:
        """The type in torch."""
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[self.value]


class Pace(StrEnum):
    """How often the learning rate follows its schedule."""

    STEP = "step"
    EPOCH = "epoch"
    CONSTANT = "constant"


class Optimizer(StrEnum):
    """What moves the weights along their gradients."""

    ADAMW = "adamw"
    SGD = "sgd"


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How a module is optimised.

    Attributes
    ----------
    epochs
        Planned passes.
    learning_rate
        Initial rate, followed by one cosine to 0 over the whole training.
    weight_decay
        Decoupled, on weights of two or more dimensions only.
    warmup_epochs
        Epochs of linear rise before the cosine.
    schedule
        Whether the rate falls with every optimisation step, with every epoch, or stays constant after its rise.
    clip_norm
        Largest norm of the gradient of all parameters together.
    average
        Decay of the running average of the weights that is validated and kept; 0 keeps the weights themselves.
    patience
        Epochs without a better score after which it stops; 0 never stops early.
    main_task
        The task whose score decides which epoch is best and when to stop; empty for the mean over the tasks.
    accumulate
        Batches whose gradients are added up for one step; the result is that of one batch of all of them.
    precision
        What the forward pass computes in.
    optimizer
        AdamW, or stochastic gradient descent with `momentum`, to whose gradients the weight decay is added.
    momentum
        Share of the former step that the next one keeps, 0 to below 1; of stochastic gradient descent alone.
    """

    epochs: int
    learning_rate: float
    weight_decay: float = 0.05
    warmup_epochs: float = 0.0
    schedule: Pace = Pace.STEP
    clip_norm: float = 5.0
    average: float = 0.0
    patience: int = 0
    main_task: str = ""
    accumulate: int = 1
    precision: Precision = Precision.FLOAT32
    optimizer: Optimizer = Optimizer.ADAMW
    momentum: float = 0.9


FACTOR = "factor"
"""Key of an optimizer group whose learning rate is the schedule's times a number."""


def parameter_groups(
    module: nn.Module,
    weight_decay: float,
    *,
    undecayed: Iterable[nn.Parameter] = (),
    factors: Sequence[tuple[float, Iterable[nn.Parameter]]] = (),
) -> list[dict[str, Any]]:
    """Split trainable parameters into decayed weights and undecayed gains, biases and tables.

    Parameters
    ----------
    module
        What is trained.
    weight_decay
        Of the first group; the others have none.
    undecayed
        More parameters that the optimizer must move, such as those of a loss balancer; a third group if there are any.
    factors
        Parameters of the module that learn at another rate: the schedule's times a number. Two groups for each.
    """
    apart = [(factor, list(parameters)) for factor, parameters in factors]
    elsewhere = {id(parameter) for _, parameters in apart for parameter in parameters}
    trainable = [p for p in module.parameters() if p.requires_grad and id(p) not in elsewhere]
    groups = _decayed_or_not(trainable, weight_decay)
    more = list(undecayed)
    if more:
        groups.append({"params": more, "weight_decay": 0.0})
    for factor, parameters in apart:
        groups += [group | {FACTOR: factor} for group in _decayed_or_not(parameters, weight_decay)]
    return groups


def make_optimizer(groups: list[dict[str, Any]], settings: Optimisation) -> torch.optim.Optimizer:
    """Return the optimizer that the settings ask for; parameters without a gradient it leaves as they are."""
    match settings.optimizer:
        case Optimizer.ADAMW:
            return torch.optim.AdamW(groups, lr=settings.learning_rate)
        case Optimizer.SGD:
            return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)


def _decayed_or_not(parameters: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
