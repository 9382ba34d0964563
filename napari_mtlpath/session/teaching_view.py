"""Where a teaching stands, as one value that a dock can show."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_mtlpath.tasks import Task
    from napari_mtlpath.training.teaching.guard import GuardResult
    from napari_mtlpath.training.teaching.report import TeachReport

MOST_POINTS = 600
"""Points of a curve beyond which every second one is dropped: more than a dock has pixels."""


class TeachingPhase(StrEnum):
    """What a teaching is doing, or how it ended."""

    IDLE = "idle"
    PREPARING = "preparing"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    DONE = "done"
    SAVING = "saving"
    SAVED = "saved"

    @property
    def busy(self) -> bool:
        """Whether the thread is at work, or held."""
        return self in (
            TeachingPhase.PREPARING,
            TeachingPhase.RUNNING,
            TeachingPhase.PAUSED,
            TeachingPhase.STOPPING,
            TeachingPhase.SAVING,
        )


def paused_or_running(pausing: bool) -> TeachingPhase:
    """Return the phase of a run that is held, or goes on."""
    return TeachingPhase.PAUSED if pausing else TeachingPhase.RUNNING


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One point of the curves, by task.

    Attributes
    ----------
    step
        Optimisation steps done.
    losses, validation_losses
        Mean loss since the last point, and on what no step learns from.
    scores
        AUC or R2 on what no step learns from.
    """

    step: int
    losses: Mapping[str, float] = field(default_factory=dict)
    validation_losses: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class TeachingView:
    """Everything that is shown about a teaching.

    Attributes
    ----------
    phase
        What it is doing.
    tasks
        What is taught; empty before the labels were read.
    parent
        Name of the model that it started from.
    titles
        What a person calls that model's own tasks, by name.
    points
        The curves so far.
    floors, score_names
        By task, what the trivial answer scores, and what its score is, such as ``"tile AUC"``.
    report
        The newest report, without its models.
    guard
        What the forgetting guard found last, or None before it has looked.
    warnings
        What a person should know, each sentence once.
    problem
        Why it failed, or an empty text.
    saved_as
        Name of the saved model; empty before.
    suggested
        A free name for the model, once there is something to save.
    shared
        Whether all tasks learn, so that old answers may move.
    encoder_blocks
        How many of the encoder's last blocks learn, too; 0 for none.
    origins
        How many labels came from where.
    """

    phase: TeachingPhase = TeachingPhase.IDLE
    tasks: "tuple[Task, ...]" = ()
    parent: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)
    points: tuple[CurvePoint, ...] = ()
    floors: Mapping[str, float] = field(default_factory=dict)
    score_names: Mapping[str, str] = field(default_factory=dict)
    report: "TeachReport | None" = None
    guard: "GuardResult | None" = None
    warnings: tuple[str, ...] = ()
    problem: str = ""
    saved_as: str = ""
    suggested: str = ""
    shared: bool = False
    encoder_blocks: int = 0
    origins: Mapping[str, int] = field(default_factory=dict)

    @property
    def can_be_saved(self) -> bool:
        """Whether something was taught, and the old tasks answer as before or were meant to move."""
        proved = self.shared or (self.guard is not None and self.guard.identical)
        return self.phase is TeachingPhase.DONE and proved

    def heard(self, report: "TeachReport") -> "TeachingView":
        """Return the view after one more report."""
        point = CurvePoint(
            step=report.step,
            losses=dict(report.losses),
            validation_losses=dict(report.validation_losses),
            scores=dict(report.scores),
        )
        says_something = point.losses or point.validation_losses or point.scores
        return replace(
            self,
            points=thinned((*self.points, point)) if says_something else self.points,
            floors={**self.floors, **report.floors},
            score_names={**self.score_names, **report.score_names},
            report=replace(report, model=None, taught=None),
            guard=report.guard if report.guard is not None else self.guard,
            warnings=(*self.warnings, *(text for text in report.warnings if text not in self.warnings)),
        )


def thinned(points: tuple[CurvePoint, ...]) -> tuple[CurvePoint, ...]:
    """Return the points, without every second one where there are too many; the last one always stays.

    Examples
    --------
    >>> many = tuple(CurvePoint(step=step) for step in range(MOST_POINTS + 1))
    >>> [point.step for point in thinned(many)][-2:]
    [598, 600]
    """
    if len(points) <= MOST_POINTS:
        return points
    return points[-1::-2][::-1]
