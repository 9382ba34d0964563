"""Options of a network: a table from a card, read into a frozen value with errors that name the key."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from enum import StrEnum
from typing import Any, TypeVar, get_type_hints

Options = TypeVar("Options")


def read_options(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """Build the frozen options dataclass `kind` from a plain table.

    Raises
    ------
    ValueError
        If a key or a choice is not known (the message names the nearest one), or a number has a wrong type or range.
    """
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # `kind` is always a dataclass
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"There is no option {key!r}.{nearest(key, known)} Known: {', '.join(sorted(known))}.")
        values[key] = _converted(key, value, hints[key])
    return kind(**values)


def plain_options(options: object) -> dict[str, Any]:
    """Return an options dataclass as a table of plain values, the inverse of :func:`read_options`."""
    table = asdict(options)  # type: ignore[call-overload]  # every options value is a dataclass
    return {key: str(value) if isinstance(value, StrEnum) else value for key, value in table.items()}


def nearest(name: str, known: Sequence[str]) -> str:
    """Return the hint sentence for a mistyped `name`, empty when nothing is near."""
    found = difflib.get_close_matches(name, [str(choice) for choice in known], n=1)
    return f" Did you mean {found[0]!r}?" if found else ""


def check_count(name: str, value: int) -> None:
    """Raise ValueError unless `value` is at least 1."""
    if value < 1:
        raise ValueError(f"Option {name!r} must be a whole number of at least 1; found {value!r}.")


def check_dropout(name: str, value: float) -> None:
    """Raise ValueError unless `value` is a share below 1."""
    if not 0.0 <= value < 1.0:
        raise ValueError(f"Option {name!r} must lie in [0, 1); found {value!r}.")


def check_weight(name: str, value: float) -> None:
    """Raise ValueError unless `value` is a finite number of at least 0."""
    if not 0.0 <= value < math.inf:
        raise ValueError(f"Option {name!r} must be a finite number of at least 0; found {value!r}.")


def check_heads(width: int, heads: int) -> None:
    """Raise ValueError unless `width` divides into `heads`."""
    if width % heads:
        raise ValueError(f"Option 'width' must be a multiple of 'heads'; found {width} and {heads}.")


def _converted(key: str, value: object, hint: object) -> object:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        choices = [str(choice) for choice in hint]
        if value not in choices:
            raise ValueError(
                f"Option {key!r} must be one of {', '.join(choices)}; found {value!r}.{nearest(str(value), choices)}"
            )
        return hint(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is bool and type(value) is not bool:
        raise ValueError(f"Option {key!r} must be true or false; found {value!r}.")
    if hint in (int, float) and type(value) is not hint:
        raise ValueError(f"Option {key!r} must be a number of type {hint.__name__}; found {value!r}.")
    return value
