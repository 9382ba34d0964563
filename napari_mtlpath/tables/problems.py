"""What is wrong with tables: every fault with its place, collected so that all of them are said at once."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

MOST_ROWS = 8
"""Rows that are named for the same sentence about a column; the others are counted."""

MOST_LINES = 200
"""Lines that an error prints; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    Attributes
    ----------
    file
        Name of the table.
    row
        Line of a CSV file or row of an XLSX sheet, both from 1; None where the whole file or column is meant.
    column
        Name of the column; None where the whole file or row is meant.
    message
        What was expected, what was found, what to do.
    """

    file: str
    row: int | None = None
    column: str | None = None
    message: str


class TableError(ValueError):
    """Tables cannot be used; `problems` holds everything that is wrong with them, in the order of the tables."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.lines))

    @property
    def lines(self) -> tuple[str, ...]:
        """One sentence with its place per kind of fault; rows with the same fault share a line."""
        found = lines_of(self.problems)
        if len(found) <= MOST_LINES:
            return found
        return (*found[:MOST_LINES], f"... and {len(found) - MOST_LINES} more.")


class Problems:
    """Collects what is wrong and what is only suspicious."""

    def __init__(self) -> None:
        self.faults: list[Problem] = []
        self.notes: list[Problem] = []

    def fault(self, file: str, message: str, *, row: int | None = None, column: str | None = None) -> None:
        """Remember something that keeps the tables from being used."""
        self.faults.append(Problem(file=file, row=row, column=column, message=message))

    def note(self, file: str, message: str, *, row: int | None = None, column: str | None = None) -> None:
        """Remember something that the user should know, but that stops nothing."""
        self.notes.append(Problem(file=file, row=row, column=column, message=message))

    def raise_faults(self) -> None:
        """Raise all faults together as one :class:`TableError`, if there are any."""
        if self.faults:
            files = list(dict.fromkeys(fault.file for fault in self.faults))
            raise TableError(sorted(self.faults, key=lambda fault: (files.index(fault.file), fault.row or 0)))


def lines_of(problems: Iterable[Problem]) -> tuple[str, ...]:
    """Return a line per kind of problem, with its file, column and rows.

    Examples
    --------
    >>> lines_of(Problem(file="a.csv", row=row, column="MSI", message="'x' is no class.") for row in (3, 7))
    ("a.csv, column 'MSI', lines 3, 7: 'x' is no class.",)
    """
    rows: dict[tuple[str, str | None, str], list[int]] = {}
    for problem in problems:
        numbers = rows.setdefault((problem.file, problem.column, problem.message), [])
        if problem.row is not None:
            numbers.append(problem.row)
    return tuple(_line(file, column, message, numbers) for (file, column, message), numbers in rows.items())


def _line(file: str, column: str | None, message: str, rows: list[int]) -> str:
    place = [file]
    if column is not None:
        place.append(f"column {column!r}")
    if rows:
        word = "row" if file.lower().endswith((".xlsx", ".xlsm")) else "line"
        shown = ", ".join(map(str, rows[:MOST_ROWS]))
        more = f" and {len(rows) - MOST_ROWS} more" if len(rows) > MOST_ROWS else ""
        place.append(f"{word}{'s' if len(rows) > 1 else ''} {shown}{more}")
    return f"{', '.join(place)}: {message}"


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ``" Did you mean ...?"`` for the name that is most like `name`, or an empty string.

    Examples
    --------
    >>> nearest("patient", ["PATIENT", "AGE"])
    " Did you mean 'PATIENT'?"
    """
    known = list(names)
    plain = {other.strip().casefold(): other for other in known}
    found = plain.get(name.strip().casefold())
    if found is None:
        close = difflib.get_close_matches(name.casefold(), plain, n=1)
        found = plain[close[0]] if close else None
    return f" Did you mean {found!r}?" if found is not None else ""
