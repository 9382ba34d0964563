"""What a running training says about itself."""

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
    learning_rate
        Of the step just done.
    score
        What the best epoch is chosen by, higher is better; NaN within an epoch.
    metrics
        Validation metrics of the epoch; empty within an epoch.
    best_epoch, best_score
        The epoch whose weights are kept so far (counted from 1; 0 before the first) and its score.
    seconds
        Wall time since the training was started or resumed.
    stopped
        Why it ended before the planned epochs, in one sentence, or "".
    output
        The model folder, in the last report only.
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
    metrics: Mapping[str, float] = field(default_factory=dict)
    stopped: str = ""
    output: Path | None = None
