"""Which columns of a table are tasks, and of which kind, where nobody has said so."""

from collections.abc import Collection

from napari_mtlpath.tables.labels import number_in
from napari_mtlpath.tables.problems import Problems
from napari_mtlpath.tables.rules import UNKNOWN_WORDS, TableRules
from napari_mtlpath.tables.sheet import Sheet
from napari_mtlpath.tasks import Classification, Regression, Task

MOST_CLASSES = 20
"""Different texts of a column that still look like classes; more are names, dates or remarks."""

NUMERIC_SHARE = 0.8
"""Share of a column's texts that must be numbers for the others to be taken for faults in a numeric column."""

_NEGATIVE_WORDS = frozenset(
    {"0", "0.0", "no", "n", "false", "absent", "negative", "neg", "normal", "benign", "control", "wt", "wildtype",
     "wild type", "wild-type", "mss", "nonmsih", "low", "stable"}
)  # fmt: skip


def infer_tasks(sheet: Sheet, *, leave: Collection[str], rules: TableRules, problems: Problems) -> tuple[Task, ...]:
    """Return a task per column that looks like one, and say what was taken for what.

    Two different values make a binary task whose second class counts as positive, more than two numbers a regression,
    up to twenty texts a classification.

    Parameters
    ----------
    sheet
        The table with the labels.
    leave
        Columns that are no tasks.
    rules, problems
        How to read the table, and where sentences go.
    """
    tasks: list[Task] = []
    for column in sheet.columns:
        if column in leave:
            continue
        sound = (row for row in range(len(sheet.rows)) if (row, sheet.columns[column]) not in sheet.faults)
        texts = [sheet.text(row, column).strip() for row in sound]
        known = [text for text in texts if not rules.is_unknown(text) and text.casefold() not in UNKNOWN_WORDS]
        task, words = _task_of(column, known)
        problems.note(sheet.file, words, column=column)
        if task is not None:
            tasks.append(task)
    return tuple(tasks)


def ordered_classes(values: Collection[str]) -> tuple[str, ...]:
    """Return classes in a fixed order: numbers by size, words for "no" first, else by the alphabet.

    Examples
    --------
    >>> ordered_classes({"yes", "no"}), ordered_classes({"10", "9"}), ordered_classes({"WT", "MUT"})
    (('no', 'yes'), ('9', '10'), ('WT', 'MUT'))
    """
    numbers = {value: number_in(value) for value in values}
    if all(number is not None for number in numbers.values()):
        return tuple(sorted(values, key=lambda value: (numbers[value], value)))
    return tuple(sorted(values, key=lambda value: (value.casefold() not in _NEGATIVE_WORDS, value)))


def _task_of(column: str, known: list[str]) -> tuple[Task | None, str]:
    values = set(known)
    if not values:
        return None, "no label is known, so this is taken for no task."
    if len(values) == 1:
        return None, f"every known label is {known[0]!r}, so there is nothing to learn: taken for no task."
    if len(values) == 2:
        classes = ordered_classes(values)
        return Classification(name=column, classes=classes), (
            f"taken for a classification with the classes {classes[0]!r} and {classes[1]!r}, the second positive."
        )
    numbers = [number for number in map(number_in, known) if number is not None]
    if len(numbers) >= NUMERIC_SHARE * len(known) and len(set(numbers)) > 2:
        low, high = min(numbers), max(numbers)
        return Regression(name=column, low=low, high=high), f"taken for a regression from {low:g} to {high:g}."
    if len(values) <= min(MOST_CLASSES, len(known) // 2):
        classes = ordered_classes(values)
        return Classification(name=column, classes=classes), (
            f"taken for a classification with the {len(classes)} classes {', '.join(map(repr, classes))}."
        )
    return None, f"{len(values)} different texts in {len(known)} cells: taken for no task."
