"""What a form should know of a setting beyond its type: which values are known, and when it matters."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class OneOf:
    """The value is one of these names; the function lists them without importing what they name."""

    names: Callable[[], tuple[str, ...]]


@dataclass(frozen=True)
class MattersWhen:
    """The setting has an effect only where another one has this value."""

    key: str
    value: str
