"""The TOML file of a card: read with limits, checked value by value, and written again."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import TypeAdapter, ValidationError

Card = TypeVar("Card")

MAX_CARD_BYTES = 2**20
MAX_NAME = 64


class CardError(ValueError):
    """A card cannot be used; the message says what was expected, found and what to do."""


def check_name(name: str, *, noun: str) -> None:
    """Raise ValueError unless `name` can safely be a folder's name on every system."""
    allowed = name.replace("-", "").replace("_", "").replace(".", "")
    if not (allowed.isascii() and allowed.isalnum() and name[0].isalnum() and len(name) <= MAX_NAME):
        raise ValueError(
            f"The name of the {noun} must be 1 to {MAX_NAME} letters, digits, '-', '_' or '.', starting with a letter "
            f"or digit; found {name!r}."
        )


def read_toml(path: Path, *, newest: int) -> dict[str, Any]:
    """Read a card's TOML file, at most 1 MiB and of a known format version; the key ``format`` is taken off.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CardError
        If it is too big, not TOML, or made by a newer version of this program.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path.name} in {path.parent}. A model is a folder with that file in it.")
    if path.stat().st_size > MAX_CARD_BYTES:
        raise CardError(f"{path.name} in {path.parent.name!r} is larger than 1 MiB, which no card is.")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CardError(f"{path.name} in {path.parent.name!r} is not valid TOML: {error}.") from error
    version = tables.pop("format", None)
    if type(version) is not int or version < 1:
        raise CardError(f"{path.name} in {path.parent.name!r} must say format = {newest}; found {version!r}.")
    if version > newest:
        raise CardError(
            f"{path.parent.name!r} was made by a newer napari-mtlpath (format {version}; this one knows {newest}). "
            "Update napari-mtlpath to use it."
        )
    return tables


def pop_table(tables: dict[str, Any], key: str, file: str) -> dict[str, Any]:
    """Take the table `key` off a card, or raise CardError where it is missing."""
    table = tables.pop(key, None)
    if not isinstance(table, dict):
        raise CardError(f"{file} needs a table [{key}]; found {'none' if table is None else repr(table)}.")
    return table


def validated(card: type[Card], values: Mapping[str, Any], *, what: str) -> Card:
    """Return `card` built from plain values, or raise CardError in one sentence that names each wrong key."""
    try:
        found: Card = _adapter(card).validate_python(dict(values))
    except ValidationError as error:
        wrong = [
            f"{'.'.join(str(part) for part in detail['loc']) or 'card'}: {detail['msg']}" for detail in error.errors()
        ]
        raise CardError(f"{what} is not valid: {'; '.join(wrong[:5])}.") from error
    return found


def plain_values(card: object) -> dict[str, Any]:
    """Return a card as plain values: without its folder and without what is empty, so that new keys change nothing."""
    kind: type[Any] = type(card)
    values: dict[str, Any] = _adapter(kind).dump_python(card, mode="json")
    return {key: value for key, value in values.items() if key != "folder" and value not in ("", None, {}, [])}


def write_toml(
    card: object, *, version: int, architecture: Mapping[str, Any], without: tuple[str, ...], kind: str = ""
) -> str:
    """Return a card as TOML: format and kind first, empty values left out, tables last."""
    plain = {key: value for key, value in plain_values(card).items() if key not in without}
    scalars = {key: value for key, value in plain.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in plain.items() if isinstance(value, dict)}
    said = {"format": version, **({"kind": kind} if kind else {})}
    return tomli_w.dumps({**said, **scalars, "architecture": dict(architecture), **tables})


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}
"""Making one takes some milliseconds, and a model's tasks are cards of the same few kinds."""


def _adapter(card: type[Any]) -> Any:  # noqa: ANN401  # a TypeAdapter, whose parameter beartype does not know
    if card not in _ADAPTERS:
        _ADAPTERS[card] = TypeAdapter(card)
    return _ADAPTERS[card]
