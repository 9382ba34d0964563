"""A TOML file as checked values, or sentences that say what is wrong with it."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from napari_mtlpath.training.config.errors import sentences


class ConfigError(ValueError):
    """A config cannot be used; the message names each wrong key, what was expected and what was found."""


def read_tables(path: Path, *, what: str) -> dict[str, Any]:
    """Return what a TOML file says, unchecked.

    Parameters
    ----------
    path
        The file.
    what
        What was expected there, with its article: "a training config".

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ConfigError
        If it is not TOML.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected {what} at {path}; found none. Give the path of a TOML file.")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path.name} is not valid TOML: {error}.") from error


def checked(tables: Mapping[str, Any], kind: Any, *, origin: str) -> Any:  # noqa: ANN401  whatever pydantic validates
    """Return the value of a type that `tables` describe.

    Parameters
    ----------
    tables
        Keys and values, as TOML gives them.
    kind
        A :class:`pydantic.BaseModel` or a union of several.
    origin
        Where the tables come from, as the sentence begins.

    Raises
    ------
    ConfigError
        With one sentence per wrong key: its name, what is allowed, what was found.

    Examples
    --------
    >>> from napari_mtlpath.training.config.augmentation import AugmentationTable
    >>> checked({"dihedral": False}, AugmentationTable, origin="train.toml").dihedral
    False
    """
    try:
        return TypeAdapter(kind).validate_python(dict(tables))
    except ValidationError as error:
        raise ConfigError(f"{origin} cannot be used: {'; '.join(sentences(error, kind))}.") from error
