"""What a model is asked about a slide or a tile: tasks, as values."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

UNKNOWN_LABEL = math.nan
"""A label that nobody gave: the task is skipped for that slide or tile (partial labels)."""


@dataclass(frozen=True, kw_only=True)
class Classification:
    """A task with named classes; two classes make it binary and the last one is the positive class.

    Attributes
    ----------
    name
        Identifier, unique in a model, such as ``"basophils"``.
    classes
        Class names in the order of the head's outputs. A binary task has one logit (for ``classes[1]``),
        a task with K > 2 classes has K logits.
    title, question
        What a person reads: a short title and the question in plain words.
    """

    name: str
    classes: tuple[str, ...] = ("absent", "present")
    title: str = ""
    question: str = ""
    kind: str = field(default="classification", init=False)

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"Task {self.name!r} needs at least two different classes; found {self.classes}.")

    @property
    def is_binary(self) -> bool:
        """Whether the task has two classes and so one logit."""
        return len(self.classes) == 2

    @property
    def outputs(self) -> int:
        """Number of outputs of the task's head."""
        return 1 if self.is_binary else len(self.classes)


@dataclass(frozen=True, kw_only=True)
class Regression:
    """A task with one number as its answer.

    Attributes
    ----------
    name, title, question
        As in :class:`Classification`.
    unit
        Unit of the answer, such as ``"share"`` or ``"1/mm2"``.
    low, high
        The range that answers are reported in. A head's output is the answer itself, clipped only for display.
    """

    name: str
    unit: str = ""
    low: float = 0.0
    high: float = 1.0
    title: str = ""
    question: str = ""
    kind: str = field(default="regression", init=False)

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"Task {self.name!r} needs low < high; found {self.low} and {self.high}.")

    @property
    def outputs(self) -> int:
        """Number of outputs of the task's head."""
        return 1


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """A task that gives every pixel of a tile one of several classes.

    Attributes
    ----------
    name, title, question
        As in :class:`Classification`.
    classes
        Class names in the order of the outputs; the first one is the background, which nobody asked for.

    Examples
    --------
    >>> Segmentation(name="cell_parts", classes=("background", "cytoplasm", "nucleus")).outputs
    3
    """

    name: str
    classes: tuple[str, ...] = ("background", "object")
    title: str = ""
    question: str = ""
    kind: str = field(default="segmentation", init=False)

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError(
                f"Task {self.name!r} needs a background and at least one more class, all different; "
                f"found {self.classes}."
            )

    @property
    def outputs(self) -> int:
        """Number of outputs per pixel: one per class, the background included."""
        return len(self.classes)


@dataclass(frozen=True, kw_only=True)
class PixelRegression:
    """A task that gives every pixel of a tile a number.

    Attributes
    ----------
    name, title, question
        As in :class:`Classification`.
    unit, low, high
        As in :class:`Regression`.
    """

    name: str
    unit: str = ""
    low: float = 0.0
    high: float = 1.0
    title: str = ""
    question: str = ""
    kind: str = field(default="pixel_regression", init=False)

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"Task {self.name!r} needs low < high; found {self.low} and {self.high}.")

    @property
    def outputs(self) -> int:
        """Number of outputs per pixel."""
        return 1


Task: TypeAlias = Classification | Regression
"""A task with one answer for what is looked at as a whole: a tile, or a slide."""

PixelTask: TypeAlias = Segmentation | PixelRegression
"""A task with an answer for every pixel."""

AnyTask: TypeAlias = Classification | Regression | Segmentation | PixelRegression
"""Any task of a pixel model, which answers tasks of both sorts."""


def whole_tasks(tasks: Iterable[AnyTask]) -> tuple[Task, ...]:
    """Return tasks that are asked of tiles or slides as a whole.

    Raises
    ------
    ValueError
        If one of them asks about every pixel.
    """
    kept: list[Task] = []
    for task in tasks:
        if isinstance(task, Segmentation | PixelRegression):
            raise ValueError(
                f"Task {task.name!r} asks about every pixel ({task.kind}), and this model answers about whole tiles "
                "or slides. Leave the task out, or train a pixel model (kind = 'pixels')."
            )
        kept.append(task)
    return tuple(kept)
