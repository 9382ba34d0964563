"""How `mtlpath train` shows a training: a bar with loss and time left, and a line per epoch."""

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from napari_mtlpath.cli.console import console, printable

if TYPE_CHECKING:
    from napari_mtlpath.training.loop.report import TrainingReport

CONFLICT = -0.05
"""Mean cosine below which two tasks are said to pull against each other."""


def show_training(
    reports: "Iterable[TrainingReport]", interrupted: Callable[[], bool], *, quiet: bool = False
) -> "TrainingReport | None":
    """Show reports as they come, until they end or `interrupted` says so; return the last one.

    `quiet` shows nothing: of several processes that train together only one reports.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}", markup=False),
    )
    last = None
    with Progress(*columns, console=console(stderr=True), disable=quiet) as progress:
        bar = progress.add_task("steps", total=None, left="")
        for last in reports:
            progress.update(
                bar, completed=last.step, total=last.steps, description=loss_words(last), left=time_left(last)
            )
            for line in () if quiet else lines_of(last):
                progress.console.print(line)
            if interrupted():
                break
    return last


Value = TypeVar("Value")


class Returned(Generic[Value]):
    """Reports of a generator, which keeps what it returns in the end.

    Attributes
    ----------
    value
        What was returned; None before the end.
    """

    value: Value | None = None

    def __init__(self, reports: "Generator[TrainingReport, None, Value]") -> None:
        self._reports = reports

    def __iter__(self) -> "Iterator[TrainingReport]":
        """Yield the reports."""
        self.value = yield from self._reports

    def close(self) -> None:
        """End the generator."""
        self._reports.close()


def lines_of(report: "TrainingReport") -> Iterator[str]:
    """Yield what stays on the screen of a report: warnings, an epoch's figures, the end of one of several trainings."""
    stage = f"{report.stage}: " if report.stage else ""
    for warning in report.warnings:
        yield f"{stage}{printable(warning)}"
    if report.metrics and report.phase == "epoch":
        score = "" if math.isnan(report.score) else f", score {report.score:.4f}"
        kept = " (best)" if report.best_epoch == report.epoch else ""
        yield f"{stage}epoch {report.epoch}{score}{kept}: {numbers(report.metrics.items())}"
        if len(report.losses) > 1:
            weighted = any(abs(weight - 1.0) > 1e-6 for weight in report.weights.values())
            weights = f"; weights {numbers(report.weights.items())}" if weighted else ""
            yield f"{stage}    losses {numbers(report.losses.items())}{weights}"
        against = [(f"{a} against {b}", value) for (a, b), value in report.conflicts.items() if value < CONFLICT]
        if against:
            yield f"{stage}    tasks pull {numbers(against)} (cosine of their gradients)"
    if report.phase == "done" and report.stage:
        words = f" {report.stopped}" if report.stopped else ""
        yield f"{stage}done, best epoch {report.best_epoch} (score {report.best_score:.4f}).{printable(words)}"


def numbers(values: Iterable[tuple[str, float]]) -> str:
    """Return names and numbers in one line.

    Examples
    --------
    >>> numbers([("tumour", 0.25), ("grade", 1.0)])
    'tumour 0.2500, grade 1.0000'
    """
    return ", ".join(f"{name} {value:.4f}" for name, value in values)


def loss_words(report: "TrainingReport") -> str:
    """Return what stands before the bar."""
    stage = f"{report.stage}, " if report.stage else ""
    loss = "" if math.isnan(report.loss) else f", loss {report.loss:.4f}"
    return f"{stage}epoch {min(report.epoch + 1, report.epochs)} of {report.epochs}{loss}"


def time_left(report: "TrainingReport") -> str:
    """Return how long it will take in words, empty where nobody knows.

    Examples
    --------
    >>> from napari_mtlpath.training.loop.report import Phase, TrainingReport
    >>> counts = {"epoch": 1, "epochs": 2, "step": 5, "steps": 10, "best_epoch": 1}
    >>> plain = {"loss": 0.5, "learning_rate": 0.1, "score": 0.5, "best_score": 0.5, "seconds": 9.0}
    >>> time_left(TrainingReport(phase=Phase.STEP, seconds_left=3725.0, **counts, **plain))
    '1:02:05 left'
    """
    if not math.isfinite(report.seconds_left):
        return ""
    minutes, seconds = divmod(round(report.seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d} left"
