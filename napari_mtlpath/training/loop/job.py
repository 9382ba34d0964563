"""What the training loop needs to know about what it trains."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Batch = Any
"""Whatever a job draws for one forward pass; only the job looks into it."""

WHOLE = "loss"
"""The name of the only loss of a job without tasks."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Result of validating one epoch.

    Attributes
    ----------
    score
        What the best epoch is chosen by unless a main task is named; higher is better, NaN where nothing can be judged.
    metrics
        Numbers for the report.
    scores
        Score per task, higher is better; a task that cannot be judged is left out.
    """

    score: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)


class Job(ABC):
    """One training: a module, its batches and their losses, its validation, and the folder that it ends in.

    Drawing a batch and computing its losses are two steps, so that a batch can be computed again (in parts when memory
    runs out, at other weights for Auto-Lambda) and a resumed epoch can pass over the batches that it has seen.

    Attributes
    ----------
    module
        Everything that is optimised; the loop saves and restores its state.
    steps_per_epoch
        How many batches an epoch has.
    """

    module: nn.Module
    steps_per_epoch: int

    @property
    def task_names(self) -> tuple[str, ...]:
        """What losses are named by: the module's tasks, or ``WHOLE`` where it has none."""
        return tuple(task.name for task in getattr(self.module, "tasks", ())) or (WHOLE,)

    @abstractmethod
    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[Batch]:
        """Yield the batches of the epoch. All chance comes from `generator`; the module takes no part.

        Raises
        ------
        ValueError
            If there is nothing to learn from.
        """

    @abstractmethod
    def batch_losses(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the mean loss of every task that has a label in the batch, with its graph; {} where none has.

        A task that is left out keeps its private parameters where they are. A job without tasks gives one loss,
        named ``WHOLE``. Chance (dropout) comes from torch's own generator, which the loop keeps private.
        """

    def label_counts(self, batch: Batch) -> Mapping[str, int]:
        """Return how many labels each task's mean is over, so that parts of a batch can be weighted like the whole.

        By default every batch has all tasks and counts the same.
        """
        return dict.fromkeys(self.task_names, 1)

    def split(self, batch: Batch) -> tuple[Batch, Batch] | None:
        """Return the two halves of a batch that was too large for the memory, or None where it cannot be divided."""
        return None

    def validation_batch(self, generator: torch.Generator) -> Batch:
        """Draw a batch that no step learns from, for methods that look ahead (Auto-Lambda).

        Raises
        ------
        ValueError
            If the job has none.
        """
        raise ValueError(
            "This training sets no batches aside to look ahead with. Choose a balancing method other than autol."
        )

    def rate_factors(self) -> Sequence[tuple[float, Sequence[nn.Parameter]]]:
        """Return parameters of the module whose learning rate is the config's times a number; by default none."""
        return ()

    def begin_step(self, step: int, *, rate: float) -> float:
        """Prepare the module for a step and return the learning rate at it, by default the planned `rate`.

        Parameters
        ----------
        step
            Steps that the training has taken before, those of earlier epochs included.
        rate
            What the settings' schedule plans for it.
        """
        return rate

    def warnings(self) -> list[str]:
        """Return what a person should know about the data before training starts, one sentence each."""
        return []

    def losses(self, epoch: int, generator: torch.Generator) -> Iterator[Mapping[str, Tensor]]:
        """Yield the losses of the epoch's batches one after the other."""
        for batch in self.batches(epoch, generator):
            yield self.batch_losses(batch)

    @abstractmethod
    def validate(self) -> Validation:
        """Judge the module as it is now, on data that no step sees."""

    @abstractmethod
    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        """Write the module as a model folder and return it; `facts` (epochs, seconds, machine) go into its card."""
