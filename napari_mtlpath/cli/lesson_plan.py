"""What `mtlpath add-task` teaches in one run: one task that options describe, or several from a TOML file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from napari_mtlpath.cli.lesson_files import LessonFiles
from napari_mtlpath.review.task_draft import TaskDraft, TaskKind
from napari_mtlpath.training.config.table import Table

if TYPE_CHECKING:
    from napari_mtlpath.zoo.model import SlideModel


class PlannedTask(Table):
    """One task of a lessons file, ``[tasks.NAME]``.

    Attributes
    ----------
    labels
        GeoJSON files of slides, and cohort tables; from the folder of the lessons file.
    slides
        Slide files that only this task's labels are about, beside those of all tasks.
    further
        Whether it is the model's own task, which is taught further.
    kind, classes, unit, low, high
        What an answer is, of a new task; as the options of the command.
    """

    labels: tuple[Path, ...] = Field(min_length=1)
    slides: tuple[Path, ...] = ()
    further: bool = False
    kind: TaskKind = TaskKind.BINARY
    classes: tuple[str, ...] = ()
    unit: str = ""
    low: float = 0.0
    high: float = 1.0

    def draft(self, name: str, model: "SlideModel") -> TaskDraft:
        """Return the task, new or as the model has it."""
        if self.further:
            return TaskDraft.of(model.card.task(name))
        return TaskDraft.made(
            title=name, kind=self.kind, classes=self.classes, unit=self.unit, low=self.low, high=self.high
        )


class LessonPlan(Table):
    """A lessons file.

    Attributes
    ----------
    tasks
        By name.
    slides
        Slide files that labels of all tasks are about.
    features
        Folder of feature files, for slides of a table that are not named.
    mpp
        Microns per pixel of slides that do not say.
    """

    tasks: dict[str, PlannedTask] = Field(min_length=1)
    slides: tuple[Path, ...] = ()
    features: Path | None = None
    mpp: float | None = Field(default=None, gt=0)


@dataclass(frozen=True, kw_only=True)
class PlannedLesson:
    """One lesson: the task, whether it is the model's own, and the files of its labels."""

    draft: TaskDraft
    further: bool
    files: LessonFiles


def planned(plan: LessonPlan, model: "SlideModel", *, folder: Path) -> tuple[PlannedLesson, ...]:
    """Return the lessons of a plan; its paths start at `folder`."""
    return tuple(
        PlannedLesson(
            draft=task.draft(name, model),
            further=task.further,
            files=LessonFiles(
                labels=tuple(folder / path for path in task.labels),
                slides=tuple(folder / path for path in dict.fromkeys((*plan.slides, *task.slides))),
                features=None if plan.features is None else folder / plan.features,
                mpp=plan.mpp,
            ),
        )
        for name, task in plan.tasks.items()
    )


def read_plan(path: Path) -> LessonPlan:
    """Read a lessons file.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ConfigError
        With one sentence per wrong key.
    """
    from napari_mtlpath.training.config.reading import checked, read_tables

    return checked(read_tables(path, what="a lessons file"), LessonPlan, origin=path.name)
