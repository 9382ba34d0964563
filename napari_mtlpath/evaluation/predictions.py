"""What a run said about one part of its data, beside the truth: the form in which training hands it to judging."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from napari_mtlpath.tasks import Classification, Task

Outputs: TypeAlias = Mapping[str, Float[NDArray[np.float64], "sample output"]]
"""By task: a head's outputs, one row per sample (1 column for binary and regression tasks, K for K classes)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """One run's answers for one part (test, selection ...) of its data.

    Attributes
    ----------
    samples
        What was answered: slides, or patients where all slides of a patient form one bag. Names as in the user's table.
    patients
        Whose each sample is, [sample]; samples of one patient are resampled together.
    tasks
        The questions.
    labels
        Class index or value, NaN where unknown, [sample, task].
    logits
        By task: the head's raw outputs, before any calibration, [sample, output].
    embeddings
        By task: what the head read, [sample, feature]; empty where nobody kept it.
    floors
        By name of a trivial answer (``"majority"``, ``"linear probe"``): its outputs as in `logits`, fitted on the
        training part. See :func:`napari_mtlpath.evaluation.floors.floors`.
    part
        Which part of the split this is.
    run
        Name of what was trained; runs of one name are repeats (seeds, folds) of each other.
    seed, fold
        Which repeat this is.
    model
        Name or folder of the model, for people.
    facts
        Anything worth knowing about data, split and machine.

    Raises
    ------
    ValueError
        If names repeat, lengths disagree, a number is not finite or a label is none of its task's classes.

    Examples
    --------
    >>> task = Classification(name="tumour")
    >>> said = Predictions(
    ...     samples=("a", "b"), patients=("p", "q"), tasks=(task,),
    ...     labels=np.array([[0.0], [1.0]]), logits={"tumour": np.array([[-1.0], [2.0]])},
    ... )
    >>> said.known("tumour").tolist()
    [True, True]
    """

    samples: tuple[str, ...]
    patients: tuple[str, ...]
    tasks: tuple[Task, ...]
    labels: Float[NDArray[np.float64], "sample task"]
    logits: Outputs
    embeddings: Mapping[str, Float[NDArray[np.float64], "sample feature"]] = field(default_factory=dict)
    floors: Mapping[str, Outputs] = field(default_factory=dict)
    part: str = "test"
    run: str = ""
    seed: int = 0
    fold: int = 0
    model: str = ""
    facts: Mapping[str, str | int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = self.task_names
        if not self.samples or len(set(self.samples)) != len(self.samples):
            raise ValueError(f"Predictions need samples of different names; found {_repeated(self.samples) or 'none'}.")
        if len(self.patients) != len(self.samples) or not all(self.patients):
            raise ValueError(f"Each of {len(self.samples)} samples needs its patient; found {len(self.patients)}.")
        if not names or len(set(names)) != len(names):
            raise ValueError(f"Predictions need tasks of different names; found {list(names)}.")
        if self.labels.shape != (len(self.samples), len(names)):
            raise ValueError(
                f"Expected labels [{len(self.samples)} samples, {len(names)} tasks]; found {list(self.labels.shape)}."
            )
        for column, task in enumerate(self.tasks):
            _check_labels(task, self.labels[:, column])
        for what, outputs in {"logits": self.logits, **self.floors}.items():
            _check_outputs(self.tasks, outputs, samples=len(self.samples), what=what)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in order."""
        return tuple(task.name for task in self.tasks)

    def task(self, name: str) -> Task:
        """Return the task called `name`; raise ValueError naming the known ones."""
        return self.tasks[self._column(name)]

    def truth(self, task: str) -> Float[NDArray[np.float64], " sample"]:
        """Return a task's labels, NaN where unknown."""
        return self.labels[:, self._column(task)]

    def known(self, task: str) -> Bool[NDArray[np.bool_], " sample"]:
        """Return which samples have a label for a task."""
        return ~np.isnan(self.truth(task))

    def only(self, chosen: Bool[NDArray[np.bool_], " sample"]) -> "Predictions":
        """Return the predictions of the chosen samples."""
        rows = np.flatnonzero(chosen)
        return replace(
            self,
            samples=tuple(self.samples[row] for row in rows),
            patients=tuple(self.patients[row] for row in rows),
            labels=self.labels[rows],
            logits={name: values[rows] for name, values in self.logits.items()},
            embeddings={name: values[rows] for name, values in self.embeddings.items()},
            floors={
                floor: {name: values[rows] for name, values in outputs.items()}
                for floor, outputs in self.floors.items()
            },
        )

    def floor(self, name: str) -> "Predictions":
        """Return the same samples as a trivial answer judges them, under that answer's name."""
        answers = self.floors[name]
        tasks = tuple(task for task in self.tasks if task.name in answers)
        columns = [self._column(task.name) for task in tasks]
        return replace(
            self, tasks=tasks, labels=self.labels[:, columns], logits=answers, embeddings={}, floors={}, run=name
        )

    def _column(self, name: str) -> int:
        if name not in self.task_names:
            raise ValueError(f"There is no task {name!r} in these predictions. Known: {', '.join(self.task_names)}.")
        return self.task_names.index(name)


def check_parts(parts: Sequence[Predictions]) -> None:
    """Raise ValueError unless `parts` are different parts of one run and no patient is in two of them."""
    if not parts or len({part.part for part in parts}) != len(parts):
        raise ValueError(f"Expected parts of different names; found {[part.part for part in parts]}.")
    if len({(part.tasks, part.run, part.seed, part.fold) for part in parts}) > 1:
        raise ValueError("The parts of one run must have the same tasks, run, seed and fold. Write each run by itself.")
    homes: dict[str, str] = {}
    for part in parts:
        for patient in set(part.patients):
            if homes.setdefault(patient, part.part) != part.part:
                raise ValueError(
                    f"A patient is in the {homes[patient]} part and in the {part.part} part. Split by patient."
                )


def _check_labels(task: Task, labels: NDArray[np.float64]) -> None:
    known = labels[~np.isnan(labels)]
    if not np.isfinite(known).all():
        raise ValueError(f"A label of task {task.name!r} is infinite. Correct it, or leave it empty.")
    if isinstance(task, Classification) and not np.isin(known, np.arange(len(task.classes))).all():
        raise ValueError(
            f"Labels of task {task.name!r} must be class indices 0 to {len(task.classes) - 1}; "
            f"found {sorted(set(known.tolist()))[:8]}."
        )


def _check_outputs(tasks: Sequence[Task], outputs: Outputs, *, samples: int, what: str) -> None:
    known = {task.name: task for task in tasks}
    if set(outputs) - set(known) or (what == "logits" and set(outputs) != set(known)):
        raise ValueError(f"Expected {what} of the tasks {list(known)}; found {list(outputs)}.")
    for name, values in outputs.items():
        if values.shape != (samples, known[name].outputs):
            raise ValueError(
                f"Expected {what} of task {name!r} as [{samples} samples, {known[name].outputs}]; "
                f"found {list(values.shape)}."
            )
        if not np.isfinite(values).all():
            raise ValueError(f"The {what} of task {name!r} hold NaN or infinity. Check the model.")


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})[:3]
