"""What the user chose to see on top of the slide, and how its colours are to be read."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from napari_mtlpath.tasks import AnyTask, Classification, PixelRegression, Regression, Segmentation

if TYPE_CHECKING:
    from napari_mtlpath.inference.heatmap import Heatmap
    from napari_mtlpath.inference.results import SlideResult

COLORMAPS = ("viridis", "plasma", "inferno", "cividis")
"""Perceptually uniform colour maps (van der Walt & Smith, 2015; Nuñez et al., 2018 for cividis).

Magma is not among them: its upper end is the colour of a stained smear.
"""

RANGE_TOPS = (0.1, 0.2, 0.5, 1.0)
"""Upper ends of the scale of a measured task, as shares of its range: what is rare would else have no colour."""

RELATIVE_TOPS = (1.25, 1.5, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
"""Upper ends of the scale of relative importance: few steps, so that colours rarely change while tiles arrive.

The first is a quarter above the average: what differs by less is left faint, because it hardly differs.
"""

USUAL_TOP = 2.0
"""Upper end of that scale before any tile is known."""


EVEN = 1.0
"""The relative importance that every tile would have if all were equally important."""


class OverlayKind(StrEnum):
    """What is painted: tile by tile or pixel by pixel; of several kinds that a task has, the first is shown.

    The kinds of :class:`napari_mtlpath.inference.heatmap.HeatmapKind` (without its torch) and of
    :class:`napari_mtlpath.inference.pixels.painting.PaintKind`.
    """

    CLASSES = "classes"
    ROUTING = "routing"
    ATTENTION = "attention"
    PREDICTION = "prediction"
    PROBABILITY = "probability"
    CROSS_TASK = "cross-task"


@dataclass(frozen=True, kw_only=True)
class OverlayChoice:
    """What is shown on top of the slide.

    Attributes
    ----------
    task
        Name of the task, or None while there is no model.
    kind
        Which of the task's heatmaps.
    opacity
        0 (invisible) to 1 (hides the slide).
    threshold
        Tiles whose value lies below it are not coloured; in the units of the heatmap.
    colormap
        One of :data:`COLORMAPS`.
    visible
        Whether the heatmap is shown at all.
    outline
        Whether the tiles that the task's router selected (top-p) are outlined.
    contours
        Whether the classes of a segmentation are drawn as lines around them, and not filled.
    shown_class
        Whose probability is shown of a segmentation; None for the first class after the background.
    """

    task: str | None = None
    kind: OverlayKind = OverlayKind.ROUTING
    opacity: float = 0.6
    threshold: float = 0.0
    colormap: str = COLORMAPS[0]
    visible: bool = True
    outline: bool = False
    contours: bool = False
    shown_class: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", OverlayKind(self.kind))
        if not 0.0 <= self.opacity <= 1.0:
            raise ValueError(f"The opacity must lie in 0 to 1; found {self.opacity}.")
        if not np.isfinite(self.threshold):
            raise ValueError(f"The threshold must be a finite number; found {self.threshold}.")
        if self.colormap not in COLORMAPS:
            raise ValueError(f"The colour map must be one of {', '.join(COLORMAPS)}; found {self.colormap!r}.")


class OverlayMemory:
    """Remembers for the length of a session what was chosen for each task.

    Threshold, kind, colour map and outline belong to a task (the threshold to a task and a kind: their units
    differ); opacity and visibility are the user's, whatever the task.
    """

    def __init__(self) -> None:
        self._of_task: dict[str | None, OverlayChoice] = {}
        self._threshold: dict[tuple[str | None, OverlayKind], float] = {}

    def changed(self, current: OverlayChoice, changes: Mapping[str, Any]) -> OverlayChoice:
        """Return `current` with `changes`; a change of task or kind brings back what was chosen for it before."""
        after = current
        if "task" in changes and changes["task"] != current.task:
            known = self._of_task.get(changes["task"], replace(current, threshold=0.0, shown_class=None))
            after = replace(known, task=changes["task"], opacity=current.opacity, visible=current.visible)
        kind = OverlayKind(changes.get("kind", after.kind))
        if kind != after.kind:
            after = replace(after, kind=kind, threshold=self._threshold.get((after.task, kind), 0.0))
        after = replace(after, **{**changes, "kind": kind})
        self._of_task[after.task] = after
        self._threshold[after.task, after.kind] = after.threshold
        return after

    def presented(self, current: OverlayChoice, offered: Collection[tuple[str, str]]) -> OverlayChoice:
        """Return `current`, but with the kind that there is where there is none of the chosen kind."""
        kind = present_kind(current, offered)
        return current if kind is current.kind else self.changed(current, {"kind": kind})


@dataclass(frozen=True, kw_only=True)
class ColourScale:
    """Which values the two ends of a heatmap's colours stand for, and what to say about them.

    Attributes
    ----------
    low, high
        The values of the first and the last colour.
    unit
        What a value counts, such as ``"x the average tile"``; may be empty.
    words
        One sentence that says how to read the scale.
    """

    low: float
    high: float
    unit: str
    words: str

    def at(self, fraction: float) -> float:
        """Return the value at a fraction, 0 to 1, of the way from low to high."""
        return self.low + fraction * (self.high - self.low)

    def fraction(self, value: float) -> float:
        """Return how far a value lies on the way from low to high, 0 to 1."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


def colour_scale(kind: OverlayKind, task: AnyTask, heatmap: "Heatmap | None" = None) -> ColourScale:
    """Return the scale in which a heatmap is drawn and its legend is written: the same for both.

    Parameters
    ----------
    kind, task
        What is shown.
    heatmap
        The heatmap, for the scales that depend on what it holds; None while there is none.
    """
    match kind:
        case OverlayKind.ROUTING:
            return _relative(heatmap, "Routing importance: how strongly this task's router picks a tile.")
        case OverlayKind.ATTENTION:
            return _relative(heatmap, "Attention: how strongly this task looks at a tile.")
        case OverlayKind.PREDICTION if isinstance(task, Classification):
            return ColourScale(low=0.0, high=1.0, unit="", words=_class_words(task, heatmap))
        case OverlayKind.PREDICTION if isinstance(task, Regression | PixelRegression):
            return _measured(task, heatmap)
        case OverlayKind.PREDICTION | OverlayKind.CLASSES:
            return ColourScale(low=0.0, high=1.0, unit="", words="Each pixel in the colour of its most probable class.")
        case OverlayKind.PROBABILITY:
            return ColourScale(low=0.0, high=1.0, unit="", words="How probable this class is, pixel by pixel.")
        case OverlayKind.CROSS_TASK:
            words = "Cross-task attention: what this task offers the model's other tasks, pixel by pixel, from 0 to 1."
            return ColourScale(low=0.0, high=1.0, unit="", words=words)
        case _:
            assert_never(kind)


def classes_shown(task: AnyTask | None) -> tuple[str, ...]:
    """Return the classes of a segmentation that are painted: all but the background; none of other tasks."""
    return task.classes[1:] if isinstance(task, Segmentation) else ()


def _class_words(task: Classification, heatmap: "Heatmap | None") -> str:
    if task.is_binary:
        return f"The answer for each tile alone: from 0 ({task.classes[0]}) to 1 ({task.classes[-1]})."
    if heatmap is None or heatmap.shown_class is None:
        return "The score, for each tile alone, of the class that is highest over all tiles."
    return f"The score of {task.classes[heatmap.shown_class]} for each tile alone: over all tiles it is the highest."


def _relative(heatmap: "Heatmap | None", words: str) -> ColourScale:
    """Scale from the average tile to a round number that all but the highest hundredth of the tiles stay below."""
    reach = _reach(heatmap)
    wanted = USUAL_TOP if reach is None else reach
    top = next((step for step in RELATIVE_TOPS if step >= wanted), RELATIVE_TOPS[-1])
    return ColourScale(
        low=EVEN, high=top, unit="x the average tile", words=f"{words} Up to the average, 1, it is clear."
    )


def _measured(task: Regression | PixelRegression, heatmap: "Heatmap | None") -> ColourScale:
    """Scale from the least value to a round share of the task's range that all but the highest hundredth stay below."""
    reach, extent = _reach(heatmap), task.high - task.low
    tops = [task.low + share * extent for share in RANGE_TOPS]
    top = task.high if reach is None else next((step for step in tops if step >= reach), task.high)
    words = "The answer for each tile alone." if isinstance(task, Regression) else "The answer, pixel by pixel."
    if top < task.high:
        words += f" The colours end at {top:g}: hardly a tile reaches it, though {task.high:g} is possible."
    return ColourScale(low=task.low, high=top, unit=task.unit, words=words)


def _reach(heatmap: "Heatmap | None") -> float | None:
    """Return the value that all but the highest hundredth of the known tiles stay below; None without any."""
    if heatmap is None:
        return None
    known = heatmap.values[np.isfinite(heatmap.values)]
    return float(np.quantile(known, 0.99)) if known.size else None


def unavailable_reason(kind: OverlayKind, task: str, offered: Collection[tuple[str, str]]) -> str:
    """Say why a task has no picture of this kind, or return an empty text where it has one."""
    if (task, kind.value) in offered:
        return ""
    if not offered:
        return "No tile has been analysed yet."
    match kind:
        case OverlayKind.ROUTING:
            return "This model has no router for this task."
        case OverlayKind.ATTENTION:
            return "This model gives no attention for this task."
        case OverlayKind.PREDICTION:
            return "This model answers for the whole slide, not tile by tile."
        case OverlayKind.CLASSES | OverlayKind.PROBABILITY:
            return "This task does not give every pixel a class."
        case OverlayKind.CROSS_TASK:
            return "This model's tasks do not attend to each other."
        case _:
            assert_never(kind)


def chosen_heatmap(result: "SlideResult | None", choice: OverlayChoice) -> "Heatmap | None":
    """Return the heatmap of a result that the user chose to see, or None where there is none."""
    if result is None or choice.task is None:
        return None
    chosen = (choice.task, choice.kind.value)
    return next((heatmap for key, heatmap in result.heatmaps.items() if key == chosen), None)


def kinds_to_choose(task: AnyTask | None, offered: Collection[tuple[str, str]]) -> tuple[OverlayKind, ...]:
    """Return the kinds that are worth a button: those that there are, and all that a task may come to have."""
    if isinstance(task, Segmentation | PixelRegression) or any(name == CROSS for _, name in offered):
        return tuple(kind for kind in OverlayKind if task is not None and (task.name, kind.value) in offered)
    return (OverlayKind.ROUTING, OverlayKind.ATTENTION, OverlayKind.PREDICTION)


CROSS = OverlayKind.CROSS_TASK.value


def present_kind(choice: OverlayChoice, offered: Collection[tuple[str, str]]) -> OverlayKind:
    """Return the chosen kind, or the first one that the task has where it lacks the chosen one."""
    kinds = [kind for kind in OverlayKind if (choice.task, kind.value) in offered]
    return choice.kind if choice.kind in kinds or not kinds else kinds[0]
