"""CSV as programs really write it: any usual encoding and delimiter, quoted newlines, lines numbered as editors do."""

import codecs
import csv
import io

from napari_mtlpath.tables.problems import Problems
from napari_mtlpath.tables.raw import RawTable

DELIMITERS = (",", ";", "\t", "|")
SEPARATOR_HINT = "sep="  # a first line that Excel writes and reads
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_csv(file: str, content: bytes, problems: Problems) -> RawTable | None:
    """Return the rows of a CSV file; None, with a fault in `problems`, where it is no text."""
    text = _decoded(file, content, problems)
    if text is None:
        return None
    skipped = 0
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith(SEPARATOR_HINT) and len(first.strip()) == len(SEPARATOR_HINT) + 1:
        delimiter, text, skipped = first.strip()[-1], rest, 1
    else:
        delimiter = delimiter_of(first)
    table = RawTable()
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begins = 1
    try:
        for row in reader:
            table.rows.append(tuple(row))
            table.numbers.append(begins + skipped)
            begins = reader.line_num + 1
    except csv.Error as error:
        problems.fault(file, f"this row cannot be read ({error}): look for a quote that is not closed.", row=begins)
    _drop_blank_start(table)
    return table


def delimiter_of(header: str) -> str:
    r"""Return the delimiter that a header line has most of, outside of quotes.

    Examples
    --------
    >>> delimiter_of('PATIENT;"age, years";MSI'), delimiter_of("PATIENT\tFILENAME"), delimiter_of("PATIENT")
    (';', '\t', ',')
    """
    outside = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=outside.count)


def _decoded(file: str, content: bytes, problems: Problems) -> str | None:
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None) or _without_mark(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8":
            problems.fault(file, f"expected {encoding.upper()} text, as its first bytes say; found other bytes.")
            return None
        text = content.decode("cp1252", errors="replace")
        problems.note(file, "this is not UTF-8 text; it was read as Windows-1252. Look at the names with accents.")
    if "\x00" in text:
        problems.fault(file, "expected a CSV or XLSX table; found bytes that are no text.")
        return None
    return text


def _without_mark(content: bytes) -> str:
    """Return UTF-16 of the byte order that a file without a mark shows by its zero bytes, else UTF-8."""
    start = content[:4096]
    if len(start) >= 4 and start[1::2].count(0) > 0.8 * len(start[1::2]):
        return "utf-16-le"
    if len(start) >= 4 and start[::2].count(0) > 0.8 * len(start[::2]):
        return "utf-16-be"
    return "utf-8"


def _drop_blank_start(table: RawTable) -> None:
    while table.rows and not any(cell.strip() for cell in table.rows[0]):
        del table.rows[0], table.numbers[0]
