"""A table as its file holds it: names of columns and text in cells, with the rows' numbers; nothing is interpreted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from napari_mtlpath.tables.csv_file import read_csv
from napari_mtlpath.tables.problems import Problems
from napari_mtlpath.tables.raw import RawTable
from napari_mtlpath.tables.xlsx_file import OLE_SIGNATURE, ZIP_SIGNATURE, read_xlsx

LARGEST_BYTES = 512 * 2**20
"""A table of 10^6 rows has some 50 MB; what is larger is no cohort table."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """A table with a header.

    Attributes
    ----------
    file
        The file's name.
    columns
        Position of each column by name.
    rows
        Text of the cells, [row][column]; an empty cell is an empty string.
    numbers
        Line (CSV) or row (XLSX) of each row in the file.
    faults
        What is wrong with single cells, by (row, column) as positions: formulas, merged cells, dates.
    number_texts
        Cells of an XLSX sheet that hold a number as text, by (row, column).
    """

    file: str
    columns: Mapping[str, int]
    rows: list[tuple[str, ...]]
    numbers: list[int]
    faults: Mapping[tuple[int, int], str] = field(default_factory=dict)
    number_texts: frozenset[tuple[int, int]] = frozenset()

    def text(self, row: int, column: str) -> str:
        """Return a cell's text."""
        return self.rows[row][self.columns[column]]

    def check_cell(self, row: int, column: str, problems: Problems) -> bool:
        """Report what is wrong with a cell as such; return whether it can be used."""
        report = partial(problems.fault, self.file, row=self.numbers[row], column=column)
        fault = self.faults.get((row, self.columns[column]))
        if fault is not None:
            report(fault)
            return False
        text = self.text(row, column)
        if text != text.strip():
            report(f"{text!r} begins or ends with a blank: remove it.")
            return False
        return True


def read_sheet(path: Path, problems: Problems) -> Sheet | None:
    """Read a CSV or XLSX table; what is wrong with the file goes to `problems`, and None is returned if it is unusable.

    Parameters
    ----------
    path
        The file; its content decides what it is, not its suffix.
    problems
        Collects faults and notes.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            problems.fault(path.name, f"expected a table of at most 512 MiB; found {size / 2**20:.0f} MiB.")
            return None
        content = path.read_bytes()
    except OSError as error:
        problems.fault(path.name, f"the file cannot be read ({error.strerror}): expected a table at {path}.")
        return None
    if content.startswith(OLE_SIGNATURE):
        problems.fault(
            path.name,
            "this is an old .xls workbook or one with a password: save it as .xlsx without a password, or as CSV.",
        )
        return None
    read = read_xlsx if content.startswith(ZIP_SIGNATURE) else read_csv
    raw = read(path.name, content, problems)
    return None if raw is None else _with_header(path.name, raw, problems)


def _with_header(file: str, raw: RawTable, problems: Problems) -> Sheet | None:
    if not raw.rows:
        problems.fault(file, "the table is empty: expected a row of column names and a row per slide or patient.")
        return None
    header = raw.rows[0]
    columns: dict[str, int] = {}
    for position, name in enumerate(header):
        if (0, position) in raw.faults:
            problems.fault(file, raw.faults[0, position], row=raw.numbers[0])
        if name in columns:
            problems.fault(file, "this name stands over two columns: rename one of them.", column=name)
        if name:
            columns[name] = position
    kept = [row for row in range(1, len(raw.rows)) if any(raw.rows[row])]
    if not kept:
        problems.fault(file, "the table has column names but no rows.")
    for row in kept:
        if len(raw.rows[row]) != len(header):
            problems.fault(
                file,
                f"expected {len(header)} cells as in the first row; found {len(raw.rows[row])}. Text that holds the "
                "delimiter needs quotes around it.",
                row=raw.numbers[row],
            )
    width = len(header)
    place = {row: index for index, row in enumerate(kept)}
    return Sheet(
        file=file,
        columns=columns,
        rows=[(*raw.rows[row][:width], *[""] * (width - len(raw.rows[row]))) for row in kept],
        numbers=[raw.numbers[row] for row in kept],
        faults={(place[row], column): text for (row, column), text in raw.faults.items() if row in place},
        number_texts=frozenset((place[row], column) for row, column in raw.number_texts if row in place),
    )
