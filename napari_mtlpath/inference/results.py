"""What a model says about a slide: values with their bag, so that a part is never taken for the whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.heatmap import Heatmap, HeatmapKind
from napari_mtlpath.tasks import Task


class ValueWord(StrEnum):
    """What a task's number may be called on screen and in files."""

    PROBABILITY = "probability"
    SCORE = "score"
    VALUE = "value"


@dataclass(frozen=True, kw_only=True)
class PossibleClasses:
    """What remains possible at a promised coverage (see :mod:`napari_mtlpath.evaluation.class_sets`).

    Attributes
    ----------
    names
        Classes in the set, in the task's order: one is an answer, several or none leave the question open.
    coverage
        What was promised for each class, 0 to 1, on slides like those that the thresholds were set on.
    """

    names: tuple[str, ...]
    coverage: float

    @property
    def decided(self) -> bool:
        """Whether exactly one class is possible."""
        return len(self.names) == 1


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """One task's answer.

    Attributes
    ----------
    task
        The question.
    value
        Binary task: of the positive class, 0 to 1. Regression: the number, unclipped. More than two classes: None.
    class_values
        One per class, summing to 1; empty for a regression.
    calibrated
        Whether the card's calibration was applied.
    word
        "probability" only for a calibrated task over the whole slide, "score" otherwise; "value" for a regression.
    possible
        Classes that the card's thresholds leave; None without thresholds, and for a part of a slide.
    """

    task: Task
    value: float | None
    class_values: tuple[float, ...]
    calibrated: bool
    word: ValueWord
    possible: PossibleClasses | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class SlideResult:
    """All tasks' answers for the tiles known so far.

    Attributes
    ----------
    tasks
        One answer per task, in the model's order.
    tiles_known, tiles_total
        Tiles in the bag, and tissue tiles on the slide.
    unreadable
        Tissue tiles that could not be read; they are in no bag.
    complete
        Every tissue tile is known or unreadable: a slide-level result.
    model_name, model_digest
        Which model said so.
    slide_name, slide_fingerprint
        About which slide.
    heatmaps
        By (task name, kind).
    selected
        Per task with a router: tiles that its top-p rule kept, [row, column].
    """

    tasks: tuple[TaskResult, ...]
    tiles_known: int
    tiles_total: int
    unreadable: int
    complete: bool
    model_name: str
    model_digest: str
    slide_name: str
    slide_fingerprint: str
    heatmaps: Mapping[tuple[str, HeatmapKind], Heatmap]
    selected: Mapping[str, NDArray[np.bool_]]

    @property
    def region_level(self) -> bool:
        """Whether the answer is about a part of the tissue only."""
        return not self.complete

    def of(self, task: str) -> TaskResult:
        """Return the answer to one task.

        Raises
        ------
        KeyError
            If the model has no such task.
        """
        for result in self.tasks:
            if result.task.name == task:
                return result
        raise KeyError(f"No task {task!r}; this result has {', '.join(r.task.name for r in self.tasks)}.")
