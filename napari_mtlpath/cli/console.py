"""What commands write to the terminal: plain text that no file name can turn into control codes."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

RESEARCH_USE_ONLY = "Research use only"
"""Said by `--version`, by `doctor` and in every exported file."""

Json: TypeAlias = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None


def printable(text: object) -> str:
    r"""Return text with control characters written out, so that a file name cannot move the cursor.

    Examples
    --------
    >>> printable("slide\x1b[2J.svs")
    'slide\\x1b[2J.svs'
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(text))


def one_line(error: BaseException) -> str:
    r"""Return an error's message as one line; its class name where it has no message.

    Examples
    --------
    >>> one_line(ValueError("expected one\n  found two"))
    'expected one found two'
    """
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return printable(f"{error.strerror}: {error.filename}")
    words = " ".join(str(error).split())
    return printable(words) or type(error).__name__


def console(*, stderr: bool = False) -> "Console":
    """Return a rich console that takes text as it is (no markup, no emoji codes)."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)


def table(*headings: str, title: str | None = None) -> "Table":
    """Return an empty table without a frame."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(
        box=box.SIMPLE_HEAD, title=None if title is None else Text(title), title_justify="left", pad_edge=False
    )
    for heading in headings:
        made.add_column(Text(heading), overflow="fold")
    return made


def add_row(made: "Table", *cells: object) -> None:
    """Add a row of plain text to a table."""
    from rich.text import Text

    made.add_row(*(Text(printable(cell)) for cell in cells))


def print_json(value: Json) -> None:
    """Write a value as JSON to standard output; numbers that JSON cannot hold become null."""
    sys.stdout.write(json.dumps(_finite(value), indent=2, ensure_ascii=False) + "\n")


def _finite(value: Json) -> Json:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): _finite(item) for key, item in value.items()}
        case str() | int() | None:
            return value
        case _:
            return [_finite(item) for item in value]
