"""What a model says about a slide: values with their bag, so that a part is never taken for the whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.heatmap import Heatmap, HeatmapKind
from napari_mtlpath.inference.pixels.painting import PixelPainting
from napari_mtlpath.tasks import AnyTask


class ValueWord(StrEnum):
    """What a task's number may be called on screen and in files."""

    PROBABILITY = "probability"
    SCORE = "score"
    VALUE = "value"
    SHARE = "area share"


class Scope(StrEnum):
    """What a task's number is about.

    `SLIDE`: one answer for all tiles together. `TILES`: the mean of the tiles' own answers, which is no slide-level
    prediction. `PIXELS`: what the pixels of the tiles add up to.
    """

    SLIDE = "slide"
    TILES = "tiles"
    PIXELS = "pixels"


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
        One per class, summing to 1; empty for a regression. Of a segmentation the classes' shares of the area.
    calibrated
        Whether the card's calibration was applied.
    word
        "probability" only for a calibrated task over the whole slide, "score" otherwise; "value" for a regression,
        "area share" for a segmentation.
    possible
        Classes that the card's thresholds leave; None without thresholds, and for a part of a slide.
    scope
        What the number is about.
    areas_mm2
        Of a segmentation: the area of each class in square millimetres, of what is analysed; empty for other tasks.
    """

    task: AnyTask
    value: float | None
    class_values: tuple[float, ...]
    calibrated: bool
    word: ValueWord
    possible: PossibleClasses | None = None
    scope: Scope = Scope.SLIDE
    areas_mm2: tuple[float, ...] = ()


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
    painting
        What can be painted pixel by pixel; None for models that answer for tiles and slides alone.
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
    painting: PixelPainting | None = None

    @property
    def offered(self) -> frozenset[tuple[str, str]]:
        """What can be painted over the slide: (task name, kind), tile by tile or pixel by pixel."""
        tiles = {(task, str(kind)) for task, kind in self.heatmaps}
        return frozenset(tiles | (self.painting.offered if self.painting is not None else set()))

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
