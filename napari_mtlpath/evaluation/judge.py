"""One run's predictions -> all figures per task, each beside the trivial answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_mtlpath.evaluation.calibrate import calibrated_logits
from napari_mtlpath.evaluation.calibration_error import CalibrationError, Reliability, calibration_error, reliability
from napari_mtlpath.evaluation.class_sets import read_class_sets
from napari_mtlpath.evaluation.conformal import SetFigures, set_figures
from napari_mtlpath.evaluation.floors import MAJORITY, majority_output
from napari_mtlpath.evaluation.intervals import DRAWS, Interval, Repeat, Resampler, judged
from napari_mtlpath.evaluation.metrics import Answers, MetricOptions, metrics_for
from napari_mtlpath.evaluation.operating_point import OperatingPoint, Rule, choose_operating_point
from napari_mtlpath.evaluation.predictions import Predictions
from napari_mtlpath.evaluation.silhouette import SILHOUETTE, silhouette_answers
from napari_mtlpath.tasks import Classification, Task

FEW = 10
"""Patients of a class below which a note says that figures of the task are weak."""


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """What a user may choose.

    Attributes
    ----------
    metrics
        Options of the figures.
    rule
        How operating points are chosen on the selection part.
    draws, seed
        Of the bootstrap.
    """

    metrics: MetricOptions = field(default_factory=MetricOptions)
    rule: Rule = Rule.YOUDEN
    draws: int = DRAWS
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ModelTables:
    """What a model's card holds for judging, each by task: calibration, operating points and conformal sets."""

    calibration: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    operating_points: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    conformal: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of one task, of the model and of each trivial answer."""

    name: str
    title: str
    model: Interval
    floors: Mapping[str, Interval]
    higher_is_better: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskReport:
    """Everything about one task.

    Attributes
    ----------
    task
        The question.
    answers
        What the figures were computed from.
    figures
        One per metric.
    operating_point
        In words: the threshold and where it came from; empty for tasks without one.
    calibration
        The card's table, or None: then numbers are scores.
    error, reliability
        Of the calibrated probabilities, or of the raw scores where there is no calibration; None for regressions.
    sets
        Figures of the card's conformal sets, or None.
    notes
        What a reader must know before believing a figure, one sentence each.
    """

    task: Task
    answers: Answers
    figures: tuple[Figure, ...]
    operating_point: str = ""
    calibration: Mapping[str, Any] | None = None
    error: CalibrationError | None = None
    reliability: Reliability | None = None
    sets: SetFigures | None = None
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Samples per class, or their number for a regression."""
        if isinstance(self.task, Classification):
            return {name: int((self.answers.truth == number).sum()) for number, name in enumerate(self.task.classes)}
        return {"samples": len(self.answers.truth)}


@dataclass(frozen=True, kw_only=True, eq=False)
class RunReport:
    """A run judged on one part of its data."""

    predictions: Predictions
    options: JudgeOptions
    tasks: tuple[TaskReport, ...]
    notes: tuple[str, ...] = ()


def judge(
    predictions: Predictions,
    *,
    selection: Predictions | None = None,
    tables: ModelTables | None = None,
    options: JudgeOptions | None = None,
) -> RunReport:
    """Judge a run.

    Parameters
    ----------
    predictions
        Its answers on the part to judge.
    selection
        Its answers on other patients, to choose operating points on; a card's operating points go first.
    tables
        What the model's card holds.
    options
        The user's choices.
    """
    options, tables = options or JudgeOptions(), tables or ModelTables()
    resampler = Resampler(predictions.patients, draws=options.draws, seed=options.seed)
    reports, notes = [], []
    for task in predictions.tasks:
        if not predictions.known(task.name).any():
            notes.append(f"Task '{task.name}' has no label here: it is not judged.")
            continue
        reports.append(_judge_task(task, predictions, selection, tables, options, resampler))
    return RunReport(predictions=predictions, options=options, tasks=tuple(reports), notes=tuple(notes))


def answers_of(predictions: Predictions, task: str, *, threshold: float = 0.0) -> Answers:
    """Return one task's answers where its label is known."""
    known = predictions.known(task)
    return Answers(
        task=predictions.task(task),
        truth=predictions.truth(task)[known],
        logits=predictions.logits[task][known],
        patients=tuple(name for name, chosen in zip(predictions.patients, known, strict=True) if chosen),
        threshold=threshold,
    )


def threshold_of(
    task: Task, selection: Predictions | None, tables: ModelTables, options: JudgeOptions
) -> tuple[float, str]:
    """Return the logit from which on a task is called positive, and where it came from in words."""
    if not isinstance(task, Classification) or not task.is_binary:
        return 0.0, ""
    stored = tables.operating_points.get(task.name)
    if stored is not None:
        return float(stored["logit"]), f"logit {float(stored['logit']):.3g}, from the model's card ({stored['rule']})"
    point = _chosen(task, selection, options)
    if point is not None:
        return point.logit, f"logit {point.logit:.3g}, {point.rule} on {point.patients} patients of the selection part"
    return 0.0, "logit 0 (half and half): no selection data to choose one on"


def floor_answers(predictions: Predictions, task: Task) -> dict[str, Answers]:
    """Return a task's trivial answers; without a stored majority, that of the judged labels themselves."""
    answers = {
        name: answers_of(predictions.floor(name), task.name)
        for name, outputs in predictions.floors.items()
        if task.name in outputs
    }
    if MAJORITY not in answers:
        made = answers_of(predictions, task.name)
        output = majority_output(task, made.truth)
        answers = {
            MAJORITY: Answers(
                task=task,
                truth=made.truth,
                logits=np.tile(output, (len(made.truth), 1)),
                patients=made.patients,
            ),
            **answers,
        }
    return answers


def _judge_task(
    task: Task,
    predictions: Predictions,
    selection: Predictions | None,
    tables: ModelTables,
    options: JudgeOptions,
    resampler: Resampler,
) -> TaskReport:
    threshold, words = threshold_of(task, selection, tables, options)
    answers = answers_of(predictions, task.name, threshold=threshold)
    report = TaskReport(
        task=task,
        answers=answers,
        figures=_figures(task, answers, predictions, options, resampler),
        operating_point=words,
        notes=tuple(_notes(task, answers, predictions)),
    )
    if not isinstance(task, Classification):
        return report
    calibration = tables.calibration.get(task.name)
    logits = calibrated_logits(answers.logits, calibration)
    stored = tables.conformal.get(task.name)
    sets = (
        set_figures(answers, calibration, read_class_sets(stored, classes=len(task.classes)), resampler)
        if stored is not None
        else None
    )
    return TaskReport(
        task=task,
        answers=answers,
        figures=report.figures,
        operating_point=words,
        calibration=calibration,
        error=calibration_error(answers, logits, resampler),
        reliability=reliability(answers, logits, resampler),
        sets=sets,
        notes=report.notes,
    )


def _figures(
    task: Task, answers: Answers, predictions: Predictions, options: JudgeOptions, resampler: Resampler
) -> tuple[Figure, ...]:
    trivial = floor_answers(predictions, task)
    figures = [
        Figure(
            name=metric.name,
            title=metric.title,
            model=judged(metric, [Repeat(answers=answers)], resampler),
            floors={name: judged(metric, [Repeat(answers=said)], resampler) for name, said in trivial.items()},
            higher_is_better=metric.higher_is_better,
        )
        for metric in metrics_for(task, options.metrics).metrics
    ]
    apart = silhouette_answers(predictions, task.name)
    if apart is not None:
        found = judged(SILHOUETTE, [Repeat(answers=apart)], resampler)
        figures.append(
            Figure(name=SILHOUETTE.name, title=SILHOUETTE.title, model=found, floors={}, higher_is_better=True)
        )
    return tuple(figures)


def _notes(task: Task, answers: Answers, predictions: Predictions) -> Sequence[str]:
    notes = []
    unknown = len(predictions.samples) - len(answers.truth)
    if unknown:
        notes.append(f"{unknown} of {len(predictions.samples)} samples have no label for this task and are left out.")
    if isinstance(task, Classification):
        owners = np.array(answers.patients)
        for number, name in enumerate(task.classes):
            count = len(set(owners[answers.truth == number]))
            if count == 0:
                notes.append(f"No sample is '{name}': figures that need this class are not given.")
            elif count < FEW:
                notes.append(f"Only {count} patients are '{name}': intervals of so few are themselves uncertain.")
    if MAJORITY not in predictions.floors:
        notes.append("The majority answer was taken from the judged labels: the run stored none of its training part.")
    return notes


def _chosen(task: Task, selection: Predictions | None, options: JudgeOptions) -> OperatingPoint | None:
    if selection is None or not selection.known(task.name).any():
        return None
    answers = answers_of(selection, task.name)
    return choose_operating_point(answers, rule=options.rule, specificity=options.metrics.specificity)
