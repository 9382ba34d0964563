"""A pool of tasks: every sample with its label and the part it belongs to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from napari_mtlpath.plugins import PluginFolder
from napari_mtlpath.tasks import Classification
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.config.pool import PoolConfig, PoolTaskTable
from napari_mtlpath.training.pool.converter import Converter, LabelledPictures, Reading
from napari_mtlpath.training.pool.parts import Part, part_of_groups
from napari_mtlpath.training.pool.pictures import Pictures
from napari_mtlpath.training.tile_training.tile_data import find_data
from napari_mtlpath.units import Microns, TilePixels

CONVERTERS: PluginFolder[Converter] = PluginFolder(
    "napari_mtlpath.training.pool.converters",
    contract=Converter,  # type: ignore[type-abstract]  # a contract is abstract by nature
    noun="source of pool tasks",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Samples of one task in one part.

    Attributes
    ----------
    pictures
        Where they are looked at.
    items
        Index in `pictures` of each, [sample].
    labels
        Class index of each, [sample].
    groups
        Patient, slide or image of each.
    """

    pictures: Pictures
    items: Int[NDArray, " sample"]
    labels: Int[NDArray, " sample"]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.items)


@dataclass(frozen=True, kw_only=True, eq=False)
class PoolTask:
    """One task of a pool.

    Attributes
    ----------
    task
        What its head answers.
    parts
        Its samples by part; no group is in two of them, in any task of the same set.
    related
        The set that it is left out with.
    facts
        Where its samples come from, in a sentence.
    """

    task: Classification
    parts: Mapping[Part, Samples]
    related: str
    facts: str = ""

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.name


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskPool:
    """The tasks that an encoder learns from together.

    Attributes
    ----------
    tasks
        In the order of their heads.
    spec
        What pictures are brought to.
    """

    tasks: tuple[PoolTask, ...]
    spec: TileSpec = field(default_factory=lambda: TileSpec(tile_um=Microns(36.0), tile_px=TilePixels(96)))

    def __post_init__(self) -> None:
        names = [task.name for task in self.tasks]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"A pool needs at least one task, each with a name of its own; found {names}.")
        for task in self.tasks:
            empty = [str(part) for part in Part if len(task.parts[part]) == 0]
            if empty:
                raise ValueError(
                    f"Task {task.name!r} has no sample for {', '.join(empty)}: it has too few patients, slides or "
                    "images. Add some, or take it out of the pool."
                )

    @property
    def sets(self) -> tuple[str, ...]:
        """The sets that tasks are left out in, in the order of their first task."""
        return tuple(dict.fromkeys(task.related for task in self.tasks))

    def without(self, sets: Sequence[str]) -> "TaskPool":
        """Return the pool without all tasks of some sets; ValueError where one is unknown or nothing is left."""
        unknown = sorted(set(sets) - set(self.sets))
        if unknown:
            raise ValueError(f"The pool has no set {', '.join(unknown)}. Its sets: {', '.join(self.sets)}.")
        return TaskPool(tasks=tuple(task for task in self.tasks if task.related not in sets), spec=self.spec)

    def only(self, sets: Sequence[str]) -> "TaskPool":
        """Return the tasks of some sets alone."""
        return self.without([each for each in self.sets if each not in sets])


def read_pool(config: PoolConfig, *, folders: tuple[Path, ...] = ()) -> TaskPool:
    """Read the whole pool that a config names, divided into parts; nothing is left out yet.

    Raises
    ------
    FileNotFoundError, ValueError
        Naming the task, and what is missing or wrong.
    """
    reading = Reading(find=lambda name: find_data(name, folders=folders), shelf={})
    read = [(table, _read(table, reading)) for table in config.pool]
    related = [_related(table) for table, _ in read]
    tasks = []
    for each in dict.fromkeys(related):
        members = [pair for pair, word in zip(read, related, strict=True) if word == each]
        parts = part_of_groups(
            [made for _, made in members],
            validation_share=config.parts.validation_share,
            test_share=config.parts.test_share,
            seed=config.parts.seed,
        )
        tasks += [_divided(table, made, parts, each) for table, made in members]
    order = [table.name for table in config.pool]
    spec = TileSpec(tile_um=Microns(config.tile.tile_um), tile_px=TilePixels(config.tile.tile_px))
    return TaskPool(tasks=tuple(sorted(tasks, key=lambda task: order.index(task.name))), spec=spec)


def about_task(task: PoolTask) -> Iterator[str]:
    """Yield what a person should know of a task before a training: its set, and the pictures of each part by class."""
    yield f"{task.name} (set {task.related}): {task.facts}."
    for part, samples in task.parts.items():
        counts = np.bincount(samples.labels, minlength=len(task.task.classes))
        named = ", ".join(f"{count} {name}" for name, count in zip(task.task.classes, counts, strict=True))
        yield f"  {part}: {len(samples)} pictures of {len(set(samples.groups))} groups ({named})."


def _related(table: PoolTaskTable) -> str:
    return table.related or CONVERTERS.load(table.source).related or table.name


def _read(table: PoolTaskTable, reading: Reading) -> LabelledPictures:
    try:
        return CONVERTERS.load(table.source).read(table.options, reading)
    except ValueError as error:
        raise ValueError(f"Pool task {table.name!r}: {error}") from error


def _divided(table: PoolTaskTable, made: LabelledPictures, parts: Mapping[str, Part], related: str) -> PoolTask:
    own = np.array([parts[group] for group in made.groups])
    if made.held_out is not None:
        own[made.held_out] = Part.TEST
    samples = {}
    for part in Part:
        chosen = np.flatnonzero(own == part)
        samples[part] = Samples(
            pictures=made.pictures,
            items=made.items[chosen],
            labels=made.labels[chosen],
            groups=tuple(made.groups[index] for index in chosen),
        )
    texts = {"name": table.name, "title": table.title, "question": table.question}
    return PoolTask(
        task=Classification(classes=made.classes, **texts), parts=samples, related=related, facts=made.facts
    )
