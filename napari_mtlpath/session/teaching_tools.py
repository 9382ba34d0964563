"""What a teaching works with: where labels, cached bags, the training and the saved models come from."""

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mtlpath.folders import data_folder

if TYPE_CHECKING:
    from napari_mtlpath.session.session import Session
    from napari_mtlpath.session.teaching_run import TeachingRun
    from napari_mtlpath.training.teaching.lesson import Lesson, TaughtBag
    from napari_mtlpath.training.teaching.report import Command, TeachReport
    from napari_mtlpath.zoo.card import ModelCard
    from napari_mtlpath.zoo.model import SlideModel

    Reports = Generator[TeachReport, Command | None, Any]

LONGEST_NAME = 60
"""Letters of a suggested name, so that a number still fits behind it."""


def drafted_lessons(session: "Session", tasks: Sequence[str]) -> "tuple[Lesson, ...]":
    """Return the labels that the user made for these tasks, with their tiles' features; reads files."""
    return session.labels.lessons(tasks)


def cached_bags(session: "Session", model: "SlideModel", lessons: "Sequence[Lesson]") -> "tuple[TaughtBag, ...]":
    """Return every bag that the model's encoder has left in the store, and the lessons': the guard's references."""
    from napari_mtlpath.session.reference_bags import reference_bags  # numpy and torch, which the caller needs anyway

    return reference_bags(session.store, model, [bag for lesson in lessons for bag in lesson.bags])


def training(run: "TeachingRun", lessons: "Sequence[Lesson]", references: "Sequence[TaughtBag]") -> "Reports":
    """Return the training as a generator of reports; closing it keeps a checkpoint."""
    from napari_mtlpath.session.slide_pixels import with_pixels
    from napari_mtlpath.training.teaching.config import parse_teach_config
    from napari_mtlpath.training.teaching.run_folder import own_run_folder
    from napari_mtlpath.training.teaching.teach import teach

    settings = parse_teach_config(run.settings)
    names = [lesson.task.name for lesson in lessons]
    with (
        own_run_folder(run.parent, names) as folder,
        with_pixels(settings, run.parent, lessons, references, seen=run.seen, tell=run.tell) as ready,
    ):
        return (
            yield from teach(
                run.parent,
                ready.lessons,
                settings,
                references=ready.references,
                folder=folder,
                device=str(run.parent.device),
                resume=run.resume,
                retrain=[task.name for task in run.parent.tasks if task.name in names],
            )
        )


def load_training() -> None:
    """Import everything that a training needs, the metrics' libraries among them."""
    import napari_mtlpath.training.teaching.taught_model
    import napari_mtlpath.training.teaching.teach  # noqa: F401


def finishing() -> "Command":
    """Return what tells a training to end soon and to keep what it has."""
    from napari_mtlpath.training.teaching.report import Command

    return Command.FINISH


def save_taught(taught: Any, folder: Path) -> "ModelCard":  # noqa: ANN401 - what the training returned
    """Save what was taught; refuses where an old task would answer otherwise than before."""
    from napari_mtlpath.training.teaching.taught_model import save

    return save(taught, folder)


def save_without(session: "Session", model: "SlideModel", task: str, folder: Path) -> "ModelCard":
    """Save a model without one of its tasks; the others are compared on every slide that the store knows."""
    from napari_mtlpath.session.reference_bags import reference_bags
    from napari_mtlpath.training.teaching.taught_model import remove_task

    return remove_task(model, task, folder, references=reference_bags(session.store, model))


@dataclass(frozen=True, kw_only=True)
class TeachingTools:
    """What a teaching needs from elsewhere; each may be another in tests."""

    prepare: Callable[[], None] = load_training
    lessons: "Callable[[Session, Sequence[str]], Sequence[Lesson]]" = drafted_lessons
    references: "Callable[[Session, SlideModel, Sequence[Lesson]], Sequence[TaughtBag]]" = cached_bags
    teach: "Callable[[TeachingRun, Sequence[Lesson], Sequence[TaughtBag]], Reports]" = training
    finish: "Callable[[], Command]" = finishing
    save: "Callable[[Any, Path], ModelCard]" = save_taught
    remove_task: "Callable[[Session, SlideModel, str, Path], ModelCard]" = save_without


def own_model_folder(name: str) -> Path:
    """Return the folder of a new model among the user's own.

    Raises
    ------
    ValueError
        If it is no name for a model, or one of a model that is there: none is ever overwritten.
    """
    from napari_mtlpath.encoders.card_file import check_name
    from napari_mtlpath.zoo.load import MODELS_FOLDER, find_model

    check_name(name, noun="model")
    try:
        taken = find_model(name)
    except FileNotFoundError:
        return data_folder() / "models" / MODELS_FOLDER / name
    raise ValueError(f"There is a model {name!r} already ({taken}). Give the new one another name.")


def suggested_name(run: "TeachingRun") -> str:
    """Return a free name for the model that a training has made: its parent's and its tasks'. Reads folders."""
    return free_name("-".join([run.parent.card.name, *(task.name for task in run.tasks)]))


def free_name(wanted: str) -> str:
    """Return `wanted` as a folder is named, or the first of ``wanted-2``, ... that no model has. Reads folders."""
    from napari_mtlpath.zoo.load import find_model

    wanted = re.sub(r"[^A-Za-z0-9_.]+", "-", wanted)[:LONGEST_NAME].strip("-")
    name = wanted
    for number in count(2):
        try:
            find_model(name)
        except FileNotFoundError:
            break
        name = f"{wanted}-{number}"
    return name
