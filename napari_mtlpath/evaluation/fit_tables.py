"""Held-out answers -> what a model's card needs to speak in probabilities: calibration, operating points, sets."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from napari_mtlpath.evaluation.calibrate import Method, NotCalibrated, calibrate
from napari_mtlpath.evaluation.calibration_error import calibration_error, cross_fitted_logits
from napari_mtlpath.evaluation.conformal import class_sets
from napari_mtlpath.evaluation.intervals import Resampler
from napari_mtlpath.evaluation.judge import JudgeOptions, ModelTables, answers_of
from napari_mtlpath.evaluation.metrics import Answers
from napari_mtlpath.evaluation.operating_point import choose_operating_point
from napari_mtlpath.evaluation.predictions import Predictions
from napari_mtlpath.tasks import Classification


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What a user may choose.

    Attributes
    ----------
    coverage
        Promised to each class by prediction sets.
    method
        How scores become probabilities; None: Platt scaling for binary tasks, temperature for several classes.
    judging
        Rule of the operating points, and the bootstrap.
    """

    coverage: float = 0.9
    method: Method | None = None
    judging: JudgeOptions = field(default_factory=JudgeOptions)


@dataclass(frozen=True, kw_only=True)
class FittedTables:
    """What was fitted, and for which tasks nothing could be, in words."""

    tables: ModelTables
    notes: tuple[str, ...]


def fit_tables(held_out: Predictions, *, fitted_on: str, options: FitOptions | None = None) -> FittedTables:
    """Fit everything that a card stores, for each classification task.

    Parameters
    ----------
    held_out
        Answers on patients that neither training nor final figures see.
    fitted_on
        What these data are, in words; stored with each table.
    options
        The user's choices.

    Returns
    -------
    The tables. A task with too few patients of a class gets no calibration and no sets, and a note says so. The stored
    calibration error is that of cross-fitting over patients, not of the fit on its own data.
    """
    options = options or FitOptions()
    calibration: dict[str, Mapping[str, Any]] = {}
    points: dict[str, Mapping[str, Any]] = {}
    conformal: dict[str, Mapping[str, Any]] = {}
    notes = []
    for task in held_out.tasks:
        if not isinstance(task, Classification):
            continue
        answers = answers_of(held_out, task.name)
        try:
            calibration[task.name] = _calibration(answers, fitted_on, options)
        except NotCalibrated as error:
            notes.append(f"Not calibrated: {error}")
            continue
        sets = class_sets(answers, calibration[task.name], coverage=options.coverage)
        conformal[task.name] = sets.as_table() | {"fitted_on": fitted_on}
        judging = options.judging
        point = (
            choose_operating_point(answers, rule=judging.rule, specificity=judging.metrics.specificity)
            if task.is_binary
            else None
        )
        if point is not None:
            points[task.name] = point.as_table() | {"fitted_on": fitted_on}
    tables = ModelTables(calibration=calibration, operating_points=points, conformal=conformal)
    return FittedTables(tables=tables, notes=tuple(notes))


def _calibration(answers: Answers, fitted_on: str, options: FitOptions) -> dict[str, Any]:
    fitted = calibrate(answers, method=options.method)
    resampler = Resampler(answers.patients, draws=options.judging.draws, seed=options.judging.seed)
    before = calibration_error(answers, answers.logits, resampler)
    crossed = replace(answers, logits=cross_fitted_logits(answers, fitted))
    after = calibration_error(crossed, crossed.logits, resampler)
    return {
        **fitted.parameters,
        "method": fitted.method.value,
        "fitted_on": fitted_on,
        "patients": float(len(np.unique(answers.patients))),
        "ece": after.ece.value,
        "ece_low": after.ece.low,
        "ece_high": after.ece.high,
        "ece_by_chance": after.by_chance,
        "ece_uncalibrated": before.ece.value,
    }
