"""A task that a person wants to teach: its kind, its answers and their colours."""

import re
from dataclasses import dataclass
from enum import StrEnum

from napari_mtlpath.tasks import Classification, Regression, Task

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#44bb99", "#bbbbbb")
"""Colours of classes, told apart also by the colour-blind (Tol, 2021, Colour Schemes, "bright")."""

MOST_CLASSES = 9
"""One number key each."""

LONGEST_NAME = 60
HEX_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class TaskKind(StrEnum):
    """What a task's answer is."""

    BINARY = "binary"
    CLASSES = "classes"
    REGRESSION = "regression"


@dataclass(frozen=True, kw_only=True)
class TaskDraft:
    """What is needed to label tiles for a task, and to ask a model.

    Attributes
    ----------
    name
        Identifier: letters, digits, ``-`` and ``_``, unique in a model.
    kind
        What the answer is.
    title, question
        What a person reads.
    classes
        Names of the classes, of which the last is the positive one of a binary task; none for a regression.
    colours
        One colour per class as ``#rrggbb``; for a regression those of its lowest and highest value.
    unit, low, high
        Unit and range of a regression's answer.

    Examples
    --------
    >>> draft = TaskDraft.made(title="Eosinophils", kind=TaskKind.BINARY)
    >>> draft.name, draft.classes, draft.task.outputs
    ('eosinophils', ('absent', 'present'), 1)
    """

    name: str
    kind: TaskKind
    title: str = ""
    question: str = ""
    classes: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    unit: str = ""
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.name) or len(self.name) > LONGEST_NAME:
            raise ValueError(
                f"A task's name is made of 1 to {LONGEST_NAME} letters, digits, '-' and '_'; found {self.name!r}. "
                "Type a title with a letter or a digit in it."
            )
        self._check_classes()
        if any(not HEX_COLOUR.fullmatch(colour) for colour in self.colours):
            raise ValueError(f"Colours are written as #rrggbb; found {', '.join(self.colours)}.")
        if len(self.colours) != max(2, len(self.classes)):
            raise ValueError(f"Expected one colour per class; found {len(self.colours)} for {len(self.classes)}.")
        if self.kind is TaskKind.REGRESSION and not self.low < self.high:
            raise ValueError(
                f"The lowest answer must be below the highest; found {self.low:g} and {self.high:g}. Change one."
            )

    @classmethod
    def made(
        cls,
        *,
        title: str,
        kind: TaskKind,
        classes: tuple[str, ...] = (),
        colours: tuple[str, ...] = (),
        unit: str = "",
        low: float = 0.0,
        high: float = 1.0,
    ) -> "TaskDraft":
        """Make a draft from what a person types: the name follows from the title, colours and classes from the kind.

        Raises
        ------
        ValueError
            If something is missing, twice there or not in its range; one sentence says what.
        """
        named = tuple(" ".join(name.split()) for name in classes if name.strip())
        match kind:
            case TaskKind.BINARY:
                named = named or ("absent", "present")
            case TaskKind.REGRESSION:
                named = ()
            case TaskKind.CLASSES:
                pass
        count = max(2, len(named))
        return cls(
            name=name_of(title),
            kind=kind,
            title=" ".join(title.split()),
            classes=named,
            colours=(*colours, *COLOURS[len(colours) :])[:count] if count <= len(COLOURS) else colours,
            unit=unit.strip(),
            low=low,
            high=high,
        )

    @classmethod
    def of(cls, task: Task) -> "TaskDraft":
        """Return the draft for labelling tiles of a task that exists."""
        if isinstance(task, Regression):
            return cls(
                name=task.name,
                kind=TaskKind.REGRESSION,
                title=task.title,
                question=task.question,
                colours=COLOURS[:2],
                unit=task.unit,
                low=task.low,
                high=task.high,
            )
        return cls(
            name=task.name,
            kind=TaskKind.BINARY if task.is_binary else TaskKind.CLASSES,
            title=task.title,
            question=task.question,
            classes=task.classes,
            colours=COLOURS[: len(task.classes)],
        )

    @property
    def task(self) -> Task:
        """The task as a model has it."""
        if self.kind is TaskKind.REGRESSION:
            return Regression(
                name=self.name, unit=self.unit, low=self.low, high=self.high, title=self.title, question=self.question
            )
        return Classification(name=self.name, classes=self.classes, title=self.title, question=self.question)

    @property
    def shown(self) -> str:
        """What a person reads."""
        return self.title or self.name

    def check(self, value: float) -> float:
        """Return a label that this task can have.

        Raises
        ------
        ValueError
            If it is no class of the task, or lies outside its range.
        """
        if self.kind is TaskKind.REGRESSION:
            if not self.low <= value <= self.high:
                raise ValueError(
                    f"Task {self.shown!r} expects a number from {self.low:g} to {self.high:g}; found {value:g}."
                )
        elif value not in range(len(self.classes)):
            raise ValueError(f"Task {self.shown!r} has {len(self.classes)} classes, counted from 0; found {value:g}.")
        return float(value)

    def words(self, value: float) -> str:
        """Return a label in words: the class's name, or the number with its unit."""
        if self.kind is TaskKind.REGRESSION:
            return f"{value:g} {self.unit}".rstrip()
        return self.classes[int(value)]

    def colour(self, value: float) -> str:
        """Return a label's colour as ``#rrggbb``; a regression's lies between those of its ends."""
        if self.kind is not TaskKind.REGRESSION:
            return self.colours[int(value)]
        share = min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)
        ends = [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in self.colours]
        return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(*ends, strict=True))

    def _check_classes(self) -> None:
        folded = [name.casefold() for name in self.classes]
        if len(set(folded)) != len(folded):
            raise ValueError(f"Each class needs a name of its own; found {', '.join(self.classes)}.")
        wanted = {TaskKind.BINARY: (2, 2), TaskKind.CLASSES: (3, MOST_CLASSES), TaskKind.REGRESSION: (0, 0)}[self.kind]
        if not wanted[0] <= len(self.classes) <= wanted[1]:
            number = f"{wanted[0]}" if wanted[0] == wanted[1] else f"{wanted[0]} to {wanted[1]}"
            raise ValueError(
                f"A task of kind {self.kind.value!r} has {number} classes; found {len(self.classes)}. "
                "Choose another kind, or add or remove classes."
            )


def name_of(title: str) -> str:
    """Return the identifier for a title.

    Examples
    --------
    >>> name_of("  Tumour cells, %  ")
    'tumour-cells'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")[:LONGEST_NAME].strip("-")
