"""What the readers of table files give: rows of text, before anybody knows which row is the header."""

import re
from dataclasses import dataclass, field

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
"""A number with a decimal point."""


@dataclass(kw_only=True, eq=False)
class RawTable:
    """Rows as they stand in a file.

    Attributes
    ----------
    rows
        Text of the cells, [row][column].
    numbers
        Line or row of each in the file, from 1.
    faults
        What is wrong with single cells, by (row, column) as positions in `rows`.
    number_texts
        Cells of an XLSX sheet that hold a number as text.
    """

    rows: list[tuple[str, ...]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    faults: dict[tuple[int, int], str] = field(default_factory=dict)
    number_texts: set[tuple[int, int]] = field(default_factory=set)
