"""Tables -> cohort: everything wrong with them is found and said at once, before anything starts."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from napari_mtlpath.tables.cohort import Cohort, Patient
from napari_mtlpath.tables.feature_files import check_feature_files, leads_out
from napari_mtlpath.tables.infer import infer_tasks
from napari_mtlpath.tables.labels import labels_of
from napari_mtlpath.tables.problems import Problems, lines_of, nearest
from napari_mtlpath.tables.rules import TableRules
from napari_mtlpath.tables.sheet import Sheet, read_sheet
from napari_mtlpath.tasks import AnyTask, Classification, Task, whole_tasks

FEW_PATIENTS = 5
"""Patients with a class below which no split can hold the class on every side with any certainty."""

MOST_HINTS = 20
"""Unmatched patients for which the most similar name is looked up: that takes a while in long tables."""


def read_cohort(
    slide_table: Path,
    clinical_table: Path | None = None,
    *,
    tasks: Sequence[AnyTask] | None = None,
    features: Path | None = None,
    rules: TableRules = TableRules(),  # noqa: B008  a frozen value
) -> Cohort:
    r"""Read and check the tables of a cohort: CSV or XLSX, two tables as STAMP has them or one with both.

    Parameters
    ----------
    slide_table
        One row per slide with the columns PATIENT and FILENAME. Without `clinical_table` its other columns are labels;
        then PATIENT may be missing, and each slide counts as a patient of its own.
    clinical_table
        One row per patient with PATIENT and a column per task; an empty cell is an unknown label.
    tasks
        What is asked; each task's labels stand in the column of its name. None: inferred from the columns.
    features
        Folder of feature files; where given, each slide must have one, and all must have the same length.
    rules
        Names of the columns, words for unknown, and what may be left out.

    Returns
    -------
    The cohort; its `notes` say what is suspicious.

    Raises
    ------
    TableError
        With everything that is wrong, by file, row and column.
    ValueError
        If a task asks about pixels, of which a table can say nothing.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "cohort.csv"
    >>> _ = path.write_text("PATIENT,FILENAME,MSI\n007,a.svs,yes\n008,b.svs,no\n")
    >>> cohort = read_cohort(path)
    >>> cohort.patients[0]
    Patient(name='007', files=('a.svs',), labels=(1.0,))
    >>> cohort.notes[0]
    "cohort.csv, column 'MSI': taken for a classification with the classes 'no' and 'yes', the second positive."
    """
    given = None if tasks is None else whole_tasks(tasks)
    problems = Problems()
    slides_sheet = read_sheet(slide_table, problems)
    labels_sheet = slides_sheet if clinical_table is None else read_sheet(clinical_table, problems)
    if slides_sheet is None or labels_sheet is None:
        problems.raise_faults()
        raise ValueError(f"The tables of {slide_table.name} cannot be read.")
    _check_columns(slides_sheet, labels_sheet, given, rules, problems)
    slides = _slides(slides_sheet, rules, problems)
    if features is not None:
        rows = {name: slide.row for name, slide in slides.items()}
        check_feature_files(rows, features, file=slides_sheet.file, rules=rules, problems=problems)
    asked = given if given is not None else _inferred(slides_sheet, labels_sheet, rules, problems)
    asked_here = [task for task in asked if task.name in labels_sheet.columns]
    labels = _labels(labels_sheet, asked_here, rules, problems, one_table=labels_sheet is slides_sheet)
    patients = _joined(slides, labels, slides_sheet, labels_sheet, rules, problems)
    _note_suspicious(patients, asked_here, labels_sheet.file, problems)
    problems.raise_faults()
    return Cohort(patients=tuple(patients), tasks=asked, notes=lines_of(problems.notes))


@dataclass(frozen=True, kw_only=True)
class _Slide:
    patient: str
    row: int


@dataclass(frozen=True, kw_only=True)
class _Labelled:
    labels: tuple[float, ...]
    row: int


def _check_columns(
    slides: Sheet, labels: Sheet, tasks: Sequence[Task] | None, rules: TableRules, problems: Problems
) -> None:
    for sheet, column in _needed(slides, labels, tasks, rules):
        if column in sheet.columns:
            continue
        found = ", ".join(map(repr, sheet.columns)) or "none"
        message = f"there is no column {column!r}.{nearest(column, sheet.columns)} Found: {found}."
        problems.fault(sheet.file, message)
    if slides is labels and rules.patient_column not in slides.columns:
        similar = nearest(rules.patient_column, slides.columns)
        note = f"there is no column {rules.patient_column!r}, so each slide counts as a patient of its own.{similar}"
        problems.note(slides.file, note)


def _needed(slides: Sheet, labels: Sheet, tasks: Sequence[Task] | None, rules: TableRules) -> list[tuple[Sheet, str]]:
    needed = [(slides, rules.filename_column)]
    if slides is not labels:
        needed += [(slides, rules.patient_column), (labels, rules.patient_column)]
    return needed + [(labels, task.name) for task in tasks or ()]


def _slides(sheet: Sheet, rules: TableRules, problems: Problems) -> dict[str, _Slide]:
    """Return the slides by file name, in the order of the table."""
    slides: dict[str, _Slide] = {}
    if rules.filename_column not in sheet.columns:
        return slides
    for row, number in enumerate(sheet.numbers):
        usable = sheet.check_cell(row, rules.filename_column, problems)
        name = sheet.text(row, rules.filename_column)
        fault = partial(problems.fault, sheet.file, row=number, column=rules.filename_column)
        patient = _patient_in(sheet, row, rules, problems)
        if not usable:
            continue
        if not name:
            fault("expected a file name; the cell is empty.")
        elif leads_out(name):
            fault(f"expected a file name within the slides' folder; found {name!r}.")
        elif name in slides:
            other = slides[name]
            whose = "" if other.patient == patient else f", there of patient {other.patient!r}"
            fault(f"slide {name!r} stands in row {other.row} already{whose}: keep one of the rows.")
        elif patient is not None:
            slides[name] = _Slide(patient=patient, row=number)
    return slides


def _patient_in(sheet: Sheet, row: int, rules: TableRules, problems: Problems) -> str | None:
    """Return whose row it is; None, with a fault said, where the cell does not tell."""
    if rules.patient_column not in sheet.columns:
        return sheet.text(row, rules.filename_column)
    if not sheet.check_cell(row, rules.patient_column, problems):
        return None
    name = sheet.text(row, rules.patient_column)
    if not name:
        message = "expected a patient's name; the cell is empty."
        problems.fault(sheet.file, message, row=sheet.numbers[row], column=rules.patient_column)
        return None
    return name


def _inferred(slides: Sheet, labels: Sheet, rules: TableRules, problems: Problems) -> tuple[Task, ...]:
    tasks = infer_tasks(labels, leave={rules.patient_column, rules.filename_column}, rules=rules, problems=problems)
    if not tasks:
        where = "beside PATIENT and FILENAME" if slides is labels else "beside PATIENT"
        problems.fault(labels.file, f"no column {where} looks like a task: add a column of labels per task.")
    return tasks


def _labels(
    sheet: Sheet, tasks: Sequence[Task], rules: TableRules, problems: Problems, *, one_table: bool
) -> dict[str, _Labelled]:
    """Return every patient's labels; several rows of a patient must agree where they are known."""
    if rules.patient_column not in sheet.columns and not (one_table and rules.filename_column in sheet.columns):
        return {}
    columns = [labels_of(sheet, task, rules, problems) for task in tasks]
    known: dict[str, _Labelled] = {}
    for row, number in enumerate(sheet.numbers):
        # In one table the slides' pass has spoken about patients already.
        patient = _patient_in(sheet, row, rules, Problems() if one_table else problems)
        if patient is None:
            continue
        labels = tuple(column[row] for column in columns)
        before = known.get(patient)
        if before is None:
            known[patient] = _Labelled(labels=labels, row=number)
            continue
        if not one_table:
            problems.note(
                sheet.file,
                f"patient {patient!r} stands in row {before.row} already; the rows were joined.",
                row=number,
                column=rules.patient_column,
            )
        _report_contradictions(sheet, row, patient, before, labels, tasks, problems)
        joined = tuple(b if math.isnan(a) else a for a, b in zip(before.labels, labels, strict=True))
        known[patient] = _Labelled(labels=joined, row=before.row)
    return known


def _report_contradictions(
    sheet: Sheet,
    row: int,
    patient: str,
    before: _Labelled,
    labels: tuple[float, ...],
    tasks: Sequence[Task],
    problems: Problems,
) -> None:
    for task, old, new in zip(tasks, before.labels, labels, strict=True):
        if not math.isnan(old) and not math.isnan(new) and old != new:
            said = task.classes[int(old)] if isinstance(task, Classification) else f"{old:g}"
            message = (
                f"patient {patient!r} has {sheet.text(row, task.name)!r} here but {said!r} above (row {before.row}): "
                "a patient has one label per task."
            )
            problems.fault(sheet.file, message, row=sheet.numbers[row], column=task.name)


def _joined(
    slides: Mapping[str, _Slide],
    labels: Mapping[str, _Labelled],
    slides_sheet: Sheet,
    labels_sheet: Sheet,
    rules: TableRules,
    problems: Problems,
) -> list[Patient]:
    files: dict[str, list[str]] = {}
    for name, slide in slides.items():
        files.setdefault(slide.patient, []).append(name)
    if slides_sheet is not labels_sheet and labels:
        _report_unmatched(slides, labels, slides_sheet, labels_sheet, rules, problems)
    return [
        Patient(name=patient, files=tuple(files[patient]), labels=labels[patient].labels)
        for patient in files
        if patient in labels
    ]


def _report_unmatched(
    slides: Mapping[str, _Slide],
    labels: Mapping[str, _Labelled],
    slides_sheet: Sheet,
    labels_sheet: Sheet,
    rules: TableRules,
    problems: Problems,
) -> None:
    """Report slides of patients without labels and patients without slides; allowed ones share one note."""
    column, hints = rules.patient_column, MOST_HINTS
    with_slides = {slide.patient for slide in slides.values()}
    todo = "add the row, remove this one, or allow unmatched rows"
    for name, slide in slides.items():
        if slide.patient in labels:
            continue
        if rules.allow_unmatched:
            note = f"the patient is not in {labels_sheet.file}: the slide is left out."
            problems.note(slides_sheet.file, note, row=slide.row, column=column)
            continue
        hint = nearest(slide.patient, labels) if hints > 0 else ""
        hints -= 1
        message = f"patient {slide.patient!r} of slide {name!r} is not in {labels_sheet.file}: {todo}.{hint}"
        problems.fault(slides_sheet.file, message, row=slide.row, column=column)
    for patient, labelled in labels.items():
        if patient in with_slides:
            continue
        if rules.allow_unmatched:
            note = f"the patient has no slide in {slides_sheet.file} and is left out."
            problems.note(labels_sheet.file, note, row=labelled.row, column=column)
        else:
            message = f"patient {patient!r} has no slide in {slides_sheet.file}: {todo}."
            problems.fault(labels_sheet.file, message, row=labelled.row, column=column)


def _note_suspicious(patients: Sequence[Patient], tasks: Sequence[Task], file: str, problems: Problems) -> None:
    """Say which labels are constant, missing or so rare that no split can hold them."""
    for column, task in enumerate(tasks):
        known = [label for patient in patients if not math.isnan(label := patient.labels[column])]
        if not known:
            problems.note(file, "no patient has a label: the task cannot be learned from this table.", column=task.name)
        elif len(set(known)) == 1:
            problems.note(file, "all known labels are the same: there is nothing to learn.", column=task.name)
        elif isinstance(task, Classification):
            counts = Counter(known)
            for index, name in enumerate(task.classes):
                if counts[index] < FEW_PATIENTS:
                    message = f"only {counts[index]} patients have the class {name!r}: figures on it will say little."
                    problems.note(file, message, column=task.name)
        elif len(known) < FEW_PATIENTS:
            problems.note(file, f"only {len(known)} patients have a label.", column=task.name)
