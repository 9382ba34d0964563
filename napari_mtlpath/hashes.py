"""SHA-256 digests of files and of plain settings: what results are told apart by."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def description_sha256(description: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) over plain data, whatever the order of its keys.

    Examples
    --------
    >>> description_sha256({"a": 1, "b": [2]}) == description_sha256({"b": [2], "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
