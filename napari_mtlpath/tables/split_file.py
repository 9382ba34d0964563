"""Splits on disk: JSON with seed and digest, and splits that somebody gave as a column of a table."""

import json
from pathlib import Path
from typing import Any

from napari_mtlpath.files import replacing
from napari_mtlpath.tables.cohort import Cohort
from napari_mtlpath.tables.problems import Problems, nearest
from napari_mtlpath.tables.rules import TableRules
from napari_mtlpath.tables.sheet import Sheet, read_sheet
from napari_mtlpath.tables.split import Side, Split, check_split

SPLIT_FILE = "split.json"
FORMAT = 1

WORDS = {
    "train": Side.TRAIN,
    "training": Side.TRAIN,
    "selection": Side.SELECTION,
    "val": Side.SELECTION,
    "valid": Side.SELECTION,
    "validation": Side.SELECTION,
    "test": Side.TEST,
    "testing": Side.TEST,
}
"""What people call the sides, in any case."""


def write_split(path: Path, split: Split) -> None:
    """Write a split as JSON; the file appears whole or not at all."""
    content = {
        "format": FORMAT,
        "method": split.method,
        "seed": split.seed,
        "fold": split.fold,
        "folds": split.folds,
        **{side.value: list(split.patients(side)) for side in Side},
        "sha256": split.digest,
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_split(path: Path, cohort: Cohort | None = None) -> Split:
    """Read a split from JSON: one of :func:`write_split`, or one by hand with the lists train, selection and test.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no split, a patient stands on two sides, its digest does not fit, or it is not of `cohort`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected a split at {path}; found none. Make it with a seed, or give another path.")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path.name} is no JSON: {error}.") from error
    split = _split(path.name, content)
    stated = content.get("sha256")
    if stated is not None and stated != split.digest:
        raise ValueError(
            f"{path.name} was changed after it was written: its sha256 does not fit its patients. Take the file of the "
            "run, or remove the sha256 if the change is meant."
        )
    if cohort is not None:
        check_split(split, cohort)
    return split


def split_by_column(
    table: Path,
    column: str,
    cohort: Cohort,
    *,
    rules: TableRules = TableRules(),  # noqa: B008  a frozen value
) -> Split:
    """Return the split that a column of a table gives: train, selection (or val, validation) and test.

    Parameters
    ----------
    table
        The slide table or the clinical table.
    column
        Name of the column.
    cohort
        What :func:`napari_mtlpath.tables.read.read_cohort` made of the tables.
    rules
        As the cohort was read with.

    Raises
    ------
    TableError
        With every cell that is none of the words, and every patient on two sides.
    ValueError
        If a patient of the cohort has no side.
    """
    problems = Problems()
    sheet = read_sheet(table, problems)
    problems.raise_faults()
    sides = {} if sheet is None else _sides(sheet, column, cohort, rules, problems)
    problems.raise_faults()
    train, selection, test = (tuple(sorted(who for who, on in sides.items() if on is side)) for side in Side)
    made = Split(train=train, selection=selection, test=test, method=f"given by column {column!r} of {table.name}")
    check_split(made, cohort)
    return made


def _sides(sheet: Sheet, column: str, cohort: Cohort, rules: TableRules, problems: Problems) -> dict[str, Side]:
    """Return the side of every patient of the cohort that a column speaks about."""
    who = rules.patient_column if rules.patient_column in sheet.columns else rules.filename_column
    missing = [name for name in (who, column) if name not in sheet.columns]
    for name in missing:
        problems.fault(sheet.file, f"there is no column {name!r}.{nearest(name, sheet.columns)}")
    sides: dict[str, Side] = {}
    wanted = {patient.name for patient in cohort.patients}
    for row, number in enumerate(sheet.numbers if not missing else ()):
        patient, text = sheet.text(row, who), sheet.text(row, column)
        if patient not in wanted:
            continue
        side = WORDS.get(text.strip().casefold())
        before = sides.get(patient)
        if side is None:
            problems.fault(sheet.file, f"expected train, selection or test; found {text!r}.", row=number, column=column)
        elif before not in (None, side):
            message = f"patient {patient!r} is on side {side.value!r} here and on side {before!r} above."
            problems.fault(sheet.file, message, row=number, column=column)
        else:
            sides[patient] = side
    return sides


def _split(file: str, content: Any) -> Split:  # noqa: ANN401  whatever a JSON file holds
    if not isinstance(content, dict):
        raise ValueError(f"{file} is no split: expected an object with the lists train, selection and test.")
    if content.get("format", FORMAT) != FORMAT:
        raise ValueError(f"{file} was made by another version of the program, format {content['format']!r}.")
    lists: dict[Side, tuple[str, ...]] = {}
    for side in Side:
        names = content.get(side.value, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{file}: expected a list of patients' names under {side.value!r}; found {names!r:.80}.")
        lists[side] = tuple(sorted(names))
    if not any(lists.values()):
        raise ValueError(f"{file} is no split: expected the lists train, selection and test.")
    seed, fold, folds = (content.get(key) for key in ("seed", "fold", "folds"))
    return Split(
        train=lists[Side.TRAIN],
        selection=lists[Side.SELECTION],
        test=lists[Side.TEST],
        method=str(content.get("method", f"given by {file}")),
        seed=seed if isinstance(seed, int) else None,
        fold=fold if isinstance(fold, int) else None,
        folds=folds if isinstance(folds, int) else 0,
    )
