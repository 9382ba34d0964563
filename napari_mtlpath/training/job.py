"""What the training loop needs to know about what it trains."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Result of validating one epoch.

    Attributes
    ----------
    score
        What the best epoch is chosen by; higher is better.
    metrics
        Numbers for the report.
    """

    score: float
    metrics: Mapping[str, float] = field(default_factory=dict)


class Job(ABC):
    """One training: a module, the losses of its steps, its validation, and the folder that it ends in.

    Attributes
    ----------
    module
        Everything that is optimised; the loop saves and restores its state.
    steps_per_epoch
        How many losses an epoch yields.
    """

    module: nn.Module
    steps_per_epoch: int

    @abstractmethod
    def losses(self, epoch: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield one loss per optimisation step of the epoch; the loop steps the optimizer in between.

        All chance comes from `generator` (dropout excepted, which draws from torch's own, kept private by the loop).
        """

    @abstractmethod
    def validate(self) -> Validation:
        """Judge the module as it is now, on data that no step sees."""

    @abstractmethod
    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        """Write the module as a model folder and return it; `facts` (epochs, seconds, machine) go into its card."""
