"""What judging found as plain values: for JSON, and as rows for CSV."""

import math
from collections.abc import Mapping
from typing import Any

from napari_mtlpath.evaluation.comparison import Comparison
from napari_mtlpath.evaluation.gain import Gain
from napari_mtlpath.evaluation.intervals import CONFIDENCE, Interval
from napari_mtlpath.evaluation.judge import RunReport, TaskReport
from napari_mtlpath.evaluation.report.document import RESEARCH_USE

FORMAT = 1
"""Version of the layout of the JSON files."""

COLUMNS = ("run", "task", "metric", "answer", "value", "low", "high", "undefined")
"""Columns of evaluation.csv."""

COMPARISON_COLUMNS = (
    *("run", "repeats", "task", "metric", "value", "low", "high", "undefined"),
    *("difference", "difference_low", "difference_high", "p", "p_holm", "test"),
)
"""Columns of comparison.csv."""


def run_values(report: RunReport, *, gain: Gain | None = None) -> dict[str, Any]:
    """Return a judged run as plain values; numbers that JSON does not know are None. No sample is named."""
    said = report.predictions
    return {
        "format": FORMAT,
        "use": RESEARCH_USE,
        "run": said.run,
        "model": said.model,
        "seed": said.seed,
        "fold": said.fold,
        "part": said.part,
        "samples": len(said.samples),
        "patients": len(set(said.patients)),
        "draws": report.options.draws,
        "confidence": CONFIDENCE,
        "notes": list(report.notes),
        "tasks": {task.task.name: _task_values(task) for task in report.tasks},
        **({"gain": _gain_values(gain)} if gain is not None else {}),
    }


def run_rows(report: RunReport) -> list[dict[str, Any]]:
    """Return one row per task, metric and answer (the model's and the trivial ones); see :data:`COLUMNS`."""
    return [
        {
            "run": report.predictions.run,
            "task": task.task.name,
            "metric": figure.name,
            "answer": answer,
            **_interval(interval),
        }
        for task in report.tasks
        for figure in task.figures
        for answer, interval in {"model": figure.model, **figure.floors}.items()
    ]


def comparison_values(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as plain values."""
    return {
        "format": FORMAT,
        "use": RESEARCH_USE,
        "runs": dict(comparison.runs),
        "baseline": comparison.baseline,
        "draws": comparison.options.draws,
        "confidence": CONFIDENCE,
        "notes": list(comparison.notes),
        "ranking": {task.task.name: task.words for task in comparison.tasks},
        "figures": comparison_rows(comparison),
        "gains": {run: _gain_values(gain) for run, gain in comparison.gains.items()},
    }


def comparison_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return one row per run, task and metric, with the difference to the baseline; see :data:`COMPARISON_COLUMNS`."""
    rows = []
    for task in comparison.tasks:
        for run, cells in task.cells.items():
            for metric, interval in cells.items():
                row = {"run": run, "repeats": comparison.runs[run], "task": task.task.name, "metric": metric}
                gap = task.differences.get(run, {}).get(metric)
                compared = (
                    {}
                    if gap is None
                    else {
                        "difference": _finite(gap.interval.value),
                        "difference_low": _finite(gap.interval.low),
                        "difference_high": _finite(gap.interval.high),
                        "p": _finite(gap.p_value),
                        "p_holm": _finite(task.adjusted[run][metric]),
                        "test": gap.test,
                    }
                )
                rows.append(row | _interval(interval) | compared)
    return rows


def _task_values(task: TaskReport) -> dict[str, Any]:
    values: dict[str, Any] = {
        "kind": task.task.kind,
        "counts": task.counts,
        "operating_point": task.operating_point,
        "calibrated": bool(task.calibration),
        "notes": list(task.notes),
        "figures": {
            figure.name: {
                **_interval(figure.model),
                "higher_is_better": figure.higher_is_better,
                "floors": {name: _interval(floor) for name, floor in figure.floors.items()},
            }
            for figure in task.figures
        },
    }
    if task.error is not None:
        values["calibration"] = {
            "ece": _interval(task.error.ece),
            "ece_by_chance": _finite(task.error.by_chance),
            "brier": _interval(task.error.brier),
        }
    if task.sets is not None:
        values["prediction_sets"] = {
            "coverage": {name: _interval(share) for name, share in task.sets.coverage.items()},
            "answered": _interval(task.sets.answered),
            "accuracy_of_answered": _interval(task.sets.accuracy),
            "empty": _interval(task.sets.empty),
        }
    return values


def _gain_values(gain: Gain) -> dict[str, Any]:
    by_task: Mapping[str, Any] = {task: _interval(figure) for task, figure in gain.by_task.items()}
    return {"mean_percent": _interval(gain.mean), "by_task_percent": by_task}


def _interval(figure: Interval) -> dict[str, float | None]:
    return {name: _finite(getattr(figure, name)) for name in ("value", "low", "high", "undefined")}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
