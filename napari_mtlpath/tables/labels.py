"""Labels of one task from the cells of its column."""

import math
import re
from collections.abc import Sequence

from napari_mtlpath.tables.problems import Problems, nearest
from napari_mtlpath.tables.raw import NUMBER
from napari_mtlpath.tables.rules import UNKNOWN_WORDS, TableRules
from napari_mtlpath.tables.sheet import Sheet
from napari_mtlpath.tasks import UNKNOWN_LABEL, Classification, Regression, Task

DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")  # 1,234: one comma two hundred, or one thousand


def labels_of(sheet: Sheet, task: Task, rules: TableRules, problems: Problems) -> list[float]:
    """Return a task's label of every row, NaN where unknown; what is wrong with a cell goes to `problems`."""
    cells = list(range(len(sheet.rows)))
    match task:
        case Classification():
            return [_class_of(sheet, row, task, rules, problems) for row in cells]
        case Regression():
            labels = [_value_of(sheet, row, task, rules, problems) for row in cells]
            _note_numbers(sheet, task, labels, problems)
            return labels


def number_in(text: str) -> float | None:
    """Return the number that a cell shows, with a decimal point or comma; None where it shows none.

    Examples
    --------
    >>> number_in("1.5"), number_in("1,5"), number_in("1e3"), number_in("1,234"), number_in("yes")
    (1.5, 1.5, 1000.0, None, None)
    """
    if NUMBER.fullmatch(text):
        value = float(text)
        return value if math.isfinite(value) else None
    if DECIMAL_COMMA.fullmatch(text) and not THOUSANDS.fullmatch(text):
        return float(text.replace(",", "."))
    return None


def _class_of(sheet: Sheet, row: int, task: Classification, rules: TableRules, problems: Problems) -> float:
    if not sheet.check_cell(row, task.name, problems):
        return UNKNOWN_LABEL
    text = sheet.text(row, task.name)
    if text in task.classes:
        return float(task.classes.index(text))
    if not rules.is_unknown(text):
        hint = _unknown_hint(text) or nearest(text, task.classes)
        known = ", ".join(map(repr, task.classes))
        message = f"{text!r} is none of the classes {known}.{hint}"
        problems.fault(sheet.file, message, row=sheet.numbers[row], column=task.name)
    return UNKNOWN_LABEL


def _value_of(sheet: Sheet, row: int, task: Regression, rules: TableRules, problems: Problems) -> float:
    if not sheet.check_cell(row, task.name, problems):
        return UNKNOWN_LABEL
    text = sheet.text(row, task.name)
    if rules.is_unknown(text):
        return UNKNOWN_LABEL
    value = number_in(text)
    if value is not None:
        return value
    hint = _unknown_hint(text)
    if THOUSANDS.fullmatch(text):
        hint = " Write it without a comma, or with a decimal point: it can be read in two ways."
    problems.fault(sheet.file, f"expected a number; found {text!r}.{hint}", row=sheet.numbers[row], column=task.name)
    return UNKNOWN_LABEL


def _unknown_hint(text: str) -> str:
    if text.casefold() in UNKNOWN_WORDS:
        return " Leave the cell empty where a label is unknown, or list the word as one that means unknown."
    return ""


def _note_numbers(sheet: Sheet, task: Regression, labels: Sequence[float], problems: Problems) -> None:
    column = sheet.columns[task.name]
    as_text = sum((row, column) in sheet.number_texts for row in range(len(sheet.rows)))
    if as_text:
        problems.note(sheet.file, f"{as_text} numbers are stored as text; they were read as numbers.", column=task.name)
    if any(DECIMAL_COMMA.fullmatch(sheet.text(row, task.name)) for row in range(len(sheet.rows))):
        problems.note(sheet.file, "decimal commas were read as decimal points.", column=task.name)
    outside = [row for row, label in enumerate(labels) if not math.isnan(label) and not task.low <= label <= task.high]
    for row in outside:
        message = f"the label lies outside the task's range {task.low:g} to {task.high:g}."
        problems.note(sheet.file, message, row=sheet.numbers[row], column=task.name)
