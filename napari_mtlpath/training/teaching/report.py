"""What a running lesson says about itself, and what it leaves in the end."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.training.teaching.config import TeachConfig
from napari_mtlpath.training.teaching.guard import Guard, GuardResult
from napari_mtlpath.training.teaching.lesson import Lesson, TaughtBag
from napari_mtlpath.zoo.model import SlideModel


class TeachPhase(StrEnum):
    """Where a lesson stands.

    Attributes
    ----------
    PREPARING
        The old answers on the reference bags are being recorded.
    STEP
        Between two looks at the held-out labels.
    REFRESH
        A point of the curves: held-out labels were looked at, `model` is new.
    GUARDING
        The old answers are being compared.
    DONE
        Finished: `guard` and `taught` are there.
    """

    PREPARING = "preparing"
    STEP = "step"
    REFRESH = "refresh"
    GUARDING = "guarding"
    DONE = "done"


class Command(StrEnum):
    """What a consumer may send into a running lesson; closing it cancels, not pulling it pauses."""

    FINISH = "finish"
    """End at the next look at the held-out labels, and keep the best weights so far."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Taught:
    """A model with lessons learned, not yet saved.

    Attributes
    ----------
    model
        The new model, in evaluation mode, its weights as they will be stored.
    parent
        The model as it was.
    lessons, config
        What it was taught from, by the tasks' names, and how.
    guard
        What became of the old answers.
    reference
        The old answers and the bags that they are on: what is saved is compared once more.
    metrics
        By group (the task, what it was judged on): figures with floors and intervals, as cards have them.
    facts
        What the card says about the run: steps, seconds, device, threads, versions.
    held_out
        By task, what its figures are on: ``"tiles"`` of slides that it learned from, or ``"slides"``.
    retrained
        Names of the existing tasks that were taught further; the others are new.
    warnings
        All that was said on the way.
    encoder, seen
        Where the tile encoder learned, too: the encoder, and the reference bags with its embeddings.
    """

    model: SlideModel
    parent: SlideModel
    lessons: tuple[Lesson, ...]
    config: TeachConfig
    guard: GuardResult
    reference: Guard
    metrics: Mapping[str, Mapping[str, float | str]]
    facts: Mapping[str, str | int | float]
    held_out: Mapping[str, str] = field(default_factory=dict)
    retrained: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    encoder: Encoder | None = None
    seen: tuple[TaughtBag, ...] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TeachReport:
    """One sign of life of a lesson.

    Attributes
    ----------
    phase
        What this report marks.
    step, steps
        Optimisation steps done and planned.
    seconds, seconds_left
        Wall time so far, and what is left if all goes on like this; NaN before the first step.
    device
        Where it computes, in words.
    losses
        Mean training loss of each learning task since the last report.
    validation_losses
        Loss of each task on its held-out labels; for old tasks in the shared mode the distance to the model before.
        Given with REFRESH and DONE.
    scores
        AUC (binary), macro-F1 (several classes) or R2 (regression) on held-out labels, by task; a task that cannot be
        judged is absent.
    score_names
        What each of `scores` is, such as ``"tile AUC"``.
    floors
        The trivial answer's score.
    model
        The model as it is now, for a preview, with REFRESH and DONE; it belongs to the receiver. None where the
        encoder learns: the embeddings that are there are not its own.
    guard
        With DONE.
    warnings
        What a person should know, since the last report, one sentence each.
    stopped
        Why it ended before the planned steps, in one sentence, or empty.
    taught
        The result, with DONE.
    """

    phase: TeachPhase
    step: int
    steps: int
    seconds: float
    device: str
    seconds_left: float = math.nan
    losses: Mapping[str, float] = field(default_factory=dict)
    validation_losses: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    score_names: Mapping[str, str] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)
    model: SlideModel | None = None
    guard: GuardResult | None = None
    warnings: tuple[str, ...] = ()
    stopped: str = ""
    taught: Taught | None = None
