"""The settings of a pydantic table as a list that a form can be made from."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from napari_mtlpath.training.config.hints import MattersWhen, OneOf


@dataclass(frozen=True, kw_only=True)
class ConfigField:
    """One setting.

    Attributes
    ----------
    name
        Its key in TOML files.
    annotation
        Its type: ``bool``, ``int``, ``float``, ``str`` or a ``Literal`` of its choices.
    default
        Its value when nobody says otherwise.
    low, high
        Smallest and largest value, where there are such.
    help
        What it means.
    matters_when
        The setting and its value without which this one has no effect; None where it always has.
    """

    name: str
    annotation: Any
    default: Any
    low: float | None = None
    high: float | None = None
    help: str = ""
    matters_when: tuple[str, str] | None = None


def config_fields(table: type[BaseModel], *, first: tuple[str, ...] = ()) -> tuple[ConfigField, ...]:
    """Return the settings of a table with what its docstring says about each.

    Parameters
    ----------
    table
        The table; all of its settings need a default.
    first
        Names of those that come first; the others follow in their order.

    Examples
    --------
    >>> class Cup(BaseModel):
    ...     '''A cup.
    ...
    ...     Attributes
    ...     ----------
    ...     size
    ...         Of the cup,
    ...         in ml.
    ...     '''
    ...
    ...     size: int = 200
    >>> config_fields(Cup)[0].help
    'Of the cup, in ml.'
    """
    helps = dict(_helps(inspect.getdoc(table) or ""))
    names = [*first, *(name for name in table.model_fields if name not in first)]
    return tuple(_field(table, name, helps.get(name, "")) for name in names)


def _field(table: type[BaseModel], name: str, words: str) -> ConfigField:
    field = table.model_fields[name]
    limits = {
        kind: getattr(entry, kind)
        for entry in field.metadata
        for kind in ("ge", "gt", "le", "lt")
        if hasattr(entry, kind)
    }
    named = [hint for hint in field.metadata if isinstance(hint, OneOf)]
    return ConfigField(
        name=name,
        annotation=Literal[named[0].names()] if named else field.annotation,
        default=field.get_default(call_default_factory=True),
        low=limits.get("ge", limits.get("gt")),
        high=limits.get("le", limits.get("lt")),
        help=words,
        matters_when=next(((hint.key, hint.value) for hint in field.metadata if isinstance(hint, MattersWhen)), None),
    )


def _helps(docstring: str) -> Iterator[tuple[str, str]]:
    """Yield each attribute of a NumPy docstring with its text; ``a, b`` share one."""
    _, _, attributes = docstring.partition("Attributes\n----------\n")
    for names, body in re.findall(r"^(\w[\w, ]*)\n((?:    .*\n?)+)", attributes, flags=re.MULTILINE):
        text = " ".join(line.strip() for line in body.strip().splitlines()).replace("``", "").replace("`", "")
        for name in names.split(","):
            yield name.strip(), text
