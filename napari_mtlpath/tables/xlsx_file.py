"""XLSX sheets: text of cells as a person sees it, and what a sheet hides (formulas, merged cells, dates) said."""

import datetime
import io
import warnings
import zipfile
import zlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from napari_mtlpath.tables.problems import Problems
from napari_mtlpath.tables.raw import NUMBER, RawTable

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

ZIP_SIGNATURE = b"PK\x03\x04"
OLE_SIGNATURE = b"\xd0\xcf\x11\xe0"
LARGEST_UNPACKED = 2**30  # a zip of some kilobytes can unpack to petabytes
MOST_DIGITS = 15
"""Digits that a spreadsheet keeps of a number: a longer identifier typed as a number has lost its end."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, LookupError, ValueError, TypeError, OSError, SyntaxError, EOFError)


def read_xlsx(file: str, content: bytes, problems: Problems) -> RawTable | None:
    """Return the rows of a workbook's first sheet; None, with a fault in `problems`, where it cannot be read."""
    from openpyxl import load_workbook

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > LARGEST_UNPACKED:
            limit, found = LARGEST_UNPACKED / 2**20, unpacked / 2**20
            problems.fault(file, f"expected a workbook of at most {limit:.0f} MiB unpacked; found {found:.0f} MiB.")
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and validation, which are not read
            book = load_workbook(io.BytesIO(content))
        return _rows(file, book.worksheets, problems)
    except _DAMAGE as error:
        problems.fault(file, f"the workbook is damaged ({type(error).__name__}): save it again, or as CSV.")
        return None


def _rows(file: str, sheets: "list[Worksheet]", problems: Problems) -> RawTable | None:
    filled = [sheet for sheet in sheets if sheet.max_row > 1 or sheet.max_column > 1 or sheet["A1"].value is not None]
    if not filled:
        problems.fault(file, "the workbook has no sheet with cells in it.")
        return None
    sheet = filled[0]
    if len(filled) > 1:
        others = ", ".join(repr(other.title) for other in filled[1:4])
        problems.note(file, f"only the first sheet, {sheet.title!r}, is read; {others} not.")
    hidden = sum(1 for number, row in sheet.row_dimensions.items() if row.hidden and number <= sheet.max_row)
    if hidden:
        problems.note(file, f"{hidden} hidden rows are read too.")
    table = RawTable()
    for row in sheet.iter_rows():
        texts = tuple(_cell(cell, (len(table.rows), position), table) for position, cell in enumerate(row))
        if table.rows or any(texts):
            table.rows.append(texts)
            table.numbers.append(row[0].row)
    _note_merged(sheet, table)
    return _without_empty_edge(table)


def _note_merged(sheet: "Worksheet", table: RawTable) -> None:
    place = {number: index for index, number in enumerate(table.numbers)}
    for merged in sheet.merged_cells.ranges:
        for row in range(merged.min_row, merged.max_row + 1):
            for column in range(merged.min_col, merged.max_col + 1):
                if row in place:
                    table.faults[place[row], column - 1] = f"cells {merged.coord} are merged: split them and fill each."


def _cell(cell: Any, place: tuple[int, int], table: RawTable) -> str:  # noqa: ANN401  one of openpyxl's cell classes
    value = cell.value
    if value is None:
        return ""
    if cell.data_type == "f":
        table.faults[place] = "the cell holds a formula: copy the column and paste it as values."
    elif cell.data_type == "e":
        table.faults[place] = f"the cell holds the error {value}: correct it, or leave it empty where unknown."
    elif isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        table.faults[place] = f"the cell holds the date or time {value}: format the column as text and type it again."
    elif isinstance(value, bool):
        return str(value).upper()
    elif isinstance(value, int | float):
        return _number(value, str(cell.number_format), place, table)
    elif NUMBER.fullmatch(str(value)):
        table.number_texts.add(place)
    return str(value)


def _number(value: float, shape: str, place: tuple[int, int], table: RawTable) -> str:
    r"""Return a number as a person sees it: no ``.0``, and the leading zeros of a format such as ``000``."""
    if value != int(value):
        return repr(value)
    text = str(Decimal(value).to_integral_value())
    if len(text.lstrip("-")) > MOST_DIGITS:
        table.faults[place] = (
            f"{text} has more than the {MOST_DIGITS} digits that a spreadsheet keeps of a number: format the column as "
            "text and type it again."
        )
    return text.zfill(len(shape)) if shape and set(shape) == {"0"} else text


def _without_empty_edge(table: RawTable) -> RawTable:
    """Cut columns on the right that are empty throughout: sheets remember formatting far beyond their content."""
    width = max((index + 1 for row in table.rows for index, text in enumerate(row) if text), default=0)
    table.rows = [row[:width] for row in table.rows]
    return table
