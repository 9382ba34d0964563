"""What a converter is: a set as its authors published it becomes labelled pictures."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray

from napari_mtlpath.nn.options import read_options
from napari_mtlpath.training.pool.pictures import Pictures


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledPictures:
    """What a converter makes: samples of one classification task.

    Attributes
    ----------
    classes
        Class names; labels are their indices.
    pictures
        Where samples are looked at; tasks of one set may share them.
    items
        Index in `pictures` of each sample, [sample].
    labels
        Class of each, [sample].
    groups
        What must not be divided between parts or folds: the patient, slide or image of each sample.
    held_out
        The samples that their publishers set aside for testing, [sample], or None where they did not.
    facts
        In a sentence: which set, how many, what was left out.
    """

    classes: tuple[str, ...]
    pictures: Pictures
    items: Int[NDArray, " sample"]
    labels: Int[NDArray, " sample"]
    groups: tuple[str, ...]
    held_out: Bool[NDArray, " sample"] | None = None
    facts: str = ""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a converter may use while a pool is read.

    Attributes
    ----------
    find
        Gives the path of a file or folder that a config names; FileNotFoundError says where it looked.
    shelf
        Keeps what several tasks of one set share, under a key of the converter's own.
    """

    find: Callable[[str], Path]
    shelf: dict[object, Any]

    def once(self, key: object, read: Callable[[], Any]) -> Any:  # noqa: ANN401  whatever the converter keeps there
        """Return what lies under `key`, read the first time."""
        if key not in self.shelf:
            self.shelf[key] = read()
        return self.shelf[key]


class Converter(ABC):
    """A set of labelled pictures -> a task. One public subclass per module of ``training.pool.converters``.

    Attributes
    ----------
    options_kind
        A frozen dataclass: the task's ``options`` table.
    related
        Name of the set that all its tasks come from; empty where tasks of this converter have nothing in common. Tasks
        of one set are divided alike, and left out together.
    """

    options_kind: ClassVar[type[Any]]
    related: ClassVar[str] = ""

    @classmethod
    def read(cls, options: Mapping[str, Any], reading: Reading) -> LabelledPictures:
        """Return the task that plain `options` describe; unknown ones raise ValueError naming the known ones."""
        return cls.convert(read_options(cls.options_kind, options), reading)

    @classmethod
    @abstractmethod
    def convert(cls, options: Any, reading: Reading) -> LabelledPictures:  # noqa: ANN401  each has a kind of its own
        """Return the task; FileNotFoundError or ValueError where the set is not as expected."""


def of_enough_classes(made: LabelledPictures, *, least: int) -> LabelledPictures:
    """Return a task without the classes of fewer than `least` samples; the facts name them.

    Raises
    ------
    ValueError
        If fewer than two classes are left.
    """
    counts = np.bincount(made.labels, minlength=len(made.classes))
    kept = [code for code, count in enumerate(counts) if count >= max(least, 1)]
    if len(kept) < 2:
        found = ", ".join(f"{name} {count}" for name, count in zip(made.classes, counts, strict=True))
        raise ValueError(f"A task needs two classes of at least {least} pictures; found {found or 'no class'}.")
    few = [code for code, count in enumerate(counts) if 0 < count < least]
    dropped = [f"{made.classes[code]} ({counts[code]})" for code in few]
    chosen = np.isin(made.labels, kept)
    said = f"; classes of fewer than {least} left out: {', '.join(dropped)}" if dropped else ""
    return LabelledPictures(
        classes=tuple(made.classes[code] for code in kept),
        pictures=made.pictures,
        items=made.items[chosen],
        labels=np.searchsorted(kept, made.labels[chosen]),
        groups=tuple(group for group, keep in zip(made.groups, chosen, strict=True) if keep),
        held_out=None if made.held_out is None else made.held_out[chosen],
        facts=f"{made.facts}{said}",
    )
