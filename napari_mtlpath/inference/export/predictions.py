"""predictions.json: what a model says about one slide, with everything needed to know what that rests on."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, assert_never

from napari_mtlpath.evaluation.class_sets import PROMISE
from napari_mtlpath.files import replacing
from napari_mtlpath.inference.export.provenance import Provenance
from napari_mtlpath.inference.results import Scope, SlideResult, TaskResult
from napari_mtlpath.tasks import Classification, PixelRegression, Regression, Segmentation

FORMAT = 1
"""Version of the layout of predictions.json."""

LARGEST = 2**24  # bytes; a larger file was not written by this program


def predictions(
    result: SlideResult, provenance: Provenance, *, files: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Return a result as plain values for JSON; `files` are those written beside it, by kind."""
    return {
        "format": FORMAT,
        **provenance.as_dict(),
        "key": provenance.key,
        "level": _level(result),
        "tiles_known": result.tiles_known,
        "tiles_total": result.tiles_total,
        "tiles_unreadable": result.unreadable,
        "complete": result.complete,
        "tasks": {task.task.name: _task(task) for task in result.tasks},
        "files": {kind: list(names) for kind, names in (files or {}).items()},
    }


def write_predictions(
    path: Path, result: SlideResult, provenance: Provenance, *, files: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Write a result as JSON and return what was written."""
    values = predictions(result, provenance, files=files)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return values


def read_predictions(path: Path) -> dict[str, Any] | None:
    """Return what an earlier run wrote, or None where there is nothing that can be used."""
    if not path.is_file() or path.stat().st_size > LARGEST:
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) and values.get("format") == FORMAT else None


def _level(result: SlideResult) -> str:
    """Return what the answers are about; those of a model that judges tiles or pixels are never about the slide."""
    if result.region_level:
        return "region"
    return "slide" if any(answer.scope is Scope.SLIDE for answer in result.tasks) else "all tiles"


def _task(answer: TaskResult) -> dict[str, Any]:
    task = answer.task
    said: dict[str, Any] = {"kind": task.kind, "title": task.title}
    if answer.scope is not Scope.SLIDE:
        said["over"] = answer.scope.value  # the mean over tiles, or the sum of pixels: no judgement of the slide
    if not isinstance(task, Segmentation):
        said[answer.word.value] = _finite(answer.value)
    match task:
        case Segmentation():
            said["area_shares"] = dict(zip(task.classes, answer.class_values, strict=True))
            said["areas_mm2"] = dict(zip(task.classes, answer.areas_mm2, strict=True))
            return said
        case Classification():
            said["classes"] = dict(zip(task.classes, map(_finite, answer.class_values), strict=True))
            said["positive_class"] = task.classes[-1] if task.is_binary else None
            if answer.possible is not None:
                said["possible"] = {
                    "classes": list(answer.possible.names),
                    "coverage": answer.possible.coverage,
                    "decided": answer.possible.decided,
                    "promise": PROMISE,
                }
        case Regression() | PixelRegression():
            said["unit"] = task.unit
        case _:
            assert_never(task)
    return said | {"calibrated": answer.calibrated}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
