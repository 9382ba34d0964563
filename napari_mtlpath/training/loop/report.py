"""What a running training says about itself."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Phase(StrEnum):
    """Where a training stands: within an epoch, at the end of one, or finished."""

    STEP = "step"
    EPOCH = "epoch"
    DONE = "done"


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """One sign of life of a training.

    Attributes
    ----------
    phase
        What this report marks.
    epoch, epochs
        Epochs completed (the current one excluded while `phase` is STEP) and planned.
    step, steps
        Optimisation steps done and planned, over all epochs.
    loss
        Mean training loss since the last report; NaN in the last report of a resumed, finished training.
    losses
        The same for each task; before weighting.
    weights
        What the loss of each task was multiplied by in the last step.
    conflicts
        For pairs of tasks the mean cosine of the angle between their gradients since the last report, from -1 (they
        pull the other way) to 1; empty where it was not measured.
    learning_rate
        Of the step just done.
    score
        What the best epoch is chosen by, higher is better; NaN within an epoch.
    metrics
        Validation metrics of the epoch; empty within an epoch.
    best_epoch, best_score
        The epoch whose weights are kept so far (counted from 1; 0 before the first) and its score.
    seconds
        Wall time of the training, that before a resumption included.
    seconds_left
        What the remaining steps will take if they are like those so far; NaN before the first.
    warnings
        What a person should know, since the last report, one sentence each.
    stopped
        Why it ended before the planned epochs, in one sentence, or "".
    output
        The model folder, in the last report only.
    stage
        Which of several trainings of one command this is, such as ``"teacher"`` or ``"fold 2 of 5"``; else empty.
    """

    phase: Phase
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    score: float
    best_epoch: int
    best_score: float
    seconds: float
    losses: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    conflicts: Mapping[tuple[str, str], float] = field(default_factory=dict)
    seconds_left: float = math.nan
    warnings: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    stopped: str = ""
    output: Path | None = None
    stage: str = ""
