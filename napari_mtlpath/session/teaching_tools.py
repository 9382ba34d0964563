"""What a teaching works with: where labels, cached bags, the training and the saved models come from."""

import hashlib
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

LONGEST_NAME = 60
"""Letters of a suggested name, so that a number still fits behind it."""

RUNS_FOLDER = "teaching"
"""Checkpoints of trainings, below the user's data."""


def drafted_lesson(session: "Session") -> "Lesson":
    """Return the task and the labels that the user made, with their tiles' features; reads files."""
    return session.labels.lesson()


def cached_bags(session: "Session", model: "SlideModel", lesson: "Lesson") -> "tuple[TaughtBag, ...]":
    """Return every bag that the model's encoder has left in the store, and the lesson's: the guard's references."""
    from napari_mtlpath.session.reference_bags import reference_bags  # numpy and torch, which the caller needs anyway

    return reference_bags(session.store, model, lesson.bags)


def training(
    run: "TeachingRun", lesson: "Lesson", references: "Sequence[TaughtBag]"
) -> "Generator[TeachReport, Command | None, Any]":
    """Return the training as a generator of reports; closing it keeps a checkpoint."""
    from napari_mtlpath.training.teaching.config import parse_teach_config
    from napari_mtlpath.training.teaching.teach import teach

    own = hashlib.sha256(lesson.task.name.encode()).hexdigest()[:16]  # a task's name may be no name for a folder
    folder = data_folder() / RUNS_FOLDER / f"{run.parent.digest[:16]}-{own}"
    return teach(
        run.parent,
        lesson,
        parse_teach_config(run.settings),
        references=references,
        folder=folder,
        device=run.parent.device,
        resume=run.resume,
        retrain=lesson.task.name if lesson.task.name in [task.name for task in run.parent.tasks] else "",
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


def save_without(model: "SlideModel", task: str, folder: Path) -> "ModelCard":
    """Save a model without one of its tasks; the others are compared on every slide that the store knows."""
    from napari_mtlpath.features.store import FeatureStore
    from napari_mtlpath.session.reference_bags import reference_bags
    from napari_mtlpath.training.teaching.taught_model import remove_task

    return remove_task(model, task, folder, references=reference_bags(FeatureStore(), model))


@dataclass(frozen=True, kw_only=True)
class TeachingTools:
    """What a teaching needs from elsewhere; each may be another in tests."""

    prepare: Callable[[], None] = load_training
    lesson: "Callable[[Session], Lesson]" = drafted_lesson
    references: "Callable[[Session, SlideModel, Lesson], Sequence[TaughtBag]]" = cached_bags
    teach: "Callable[[TeachingRun, Lesson, Sequence[TaughtBag]], Generator[TeachReport, Command | None, Any]]" = (
        training
    )
    finish: "Callable[[], Command]" = finishing
    save: "Callable[[Any, Path], ModelCard]" = save_taught
    remove_task: "Callable[[SlideModel, str, Path], ModelCard]" = save_without


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
    """Return a free name for the model that a training has made: its parent's and its task's. Reads folders."""
    return free_name(f"{run.parent.card.name}-{run.task.name if run.task is not None else 'taught'}")


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
