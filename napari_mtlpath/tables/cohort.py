"""A cohort as a value: patients with their slides and what is known of them, partial labels first class."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.tasks import Classification, Task


@dataclass(frozen=True, kw_only=True)
class Patient:
    """One patient: all slides and all labels.

    Attributes
    ----------
    name
        As the table has it, every character kept.
    files
        File names of the slides as the table has them; at least one.
    labels
        One number per task of the cohort: the class's position or the regression's value; NaN where unknown.
    """

    name: str
    files: tuple[str, ...]
    labels: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Patients and what is asked about them.

    Attributes
    ----------
    patients
        In the order of the table.
    tasks
        One column of labels each.
    notes
        What a user should know about the tables, one sentence each: suspicious things, and how tasks were inferred.

    Examples
    --------
    >>> msi = Classification(name="MSI", classes=("no", "yes"))
    >>> cohort = Cohort(patients=(Patient(name="P1", files=("a.svs",), labels=(1.0,)),), tasks=(msi,))
    >>> cohort.label_array().tolist(), cohort.known("MSI")
    ([[1.0]], 1)
    """

    patients: tuple[Patient, ...]
    tasks: tuple[Task, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [patient.name for patient in self.patients]
        if len(set(names)) != len(names):
            raise ValueError("Expected each patient once; found one twice. Join their rows.")
        wrong = [patient.name for patient in self.patients if len(patient.labels) != len(self.tasks)]
        if wrong:
            raise ValueError(f"Expected {len(self.tasks)} labels per patient; patient {wrong[0]!r} has another number.")

    @property
    def slides(self) -> tuple[tuple[str, Patient], ...]:
        """Every slide's file name with its patient."""
        return tuple((file, patient) for patient in self.patients for file in patient.files)

    def label_array(self) -> NDArray[np.float64]:
        """Return the labels, [patient, task]; NaN where unknown."""
        return np.array([patient.labels for patient in self.patients], dtype=np.float64).reshape(
            len(self.patients), len(self.tasks)
        )

    def known(self, task: str) -> int:
        """Return how many patients have a label for a task."""
        column = self._column(task)
        return sum(not math.isnan(patient.labels[column]) for patient in self.patients)

    def count(self, task: str) -> dict[str, int]:
        """Return how many patients have each class of a classification."""
        column = self._column(task)
        asked = self.tasks[column]
        if not isinstance(asked, Classification):
            raise ValueError(f"Expected a classification; task {task!r} is a regression, which has no classes.")
        labels = [patient.labels[column] for patient in self.patients]
        return {name: sum(label == index for label in labels) for index, name in enumerate(asked.classes)}

    def _column(self, task: str) -> int:
        names = [other.name for other in self.tasks]
        if task not in names:
            raise ValueError(f"The cohort has no task {task!r}. Known: {', '.join(names)}.")
        return names.index(task)
