"""Converted networks in the user's cache folder: found by what they follow from, and only so many of them."""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_mtlpath.files import replacing
from napari_mtlpath.folders import cache_folder

FACTS_FILE = "facts.json"
KEY_LETTERS = 32
MOST_NETWORKS = 32
MOST_BYTES = 4 * 2**30
"""Beyond either, the networks that were not used for longest are thrown away."""

IN_USE_SECONDS = 3600.0
"""A network used so lately stays: another process may be about to open it."""


def network_folder(source: str) -> Path:
    """Return where the network is kept that follows from `source`, a hash of all that changes its numbers."""
    return cache_folder() / "openvino" / source[:KEY_LETTERS]


def read_facts(folder: Path, *, source: str) -> dict[str, Any] | None:
    """Return what an earlier run wrote about the network in a folder, without its source; None where it is another's.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is nothing, or nothing that can be read.
    """
    facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
    if not isinstance(facts, dict) or facts.pop("source", None) != source:
        return None
    with contextlib.suppress(OSError):  # a cache that may only be read does as well
        os.utime(folder / FACTS_FILE)
    return facts


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write what is known of the network in a folder, last of all, and make room for it."""
    with replacing(folder / FACTS_FILE) as temporary:
        temporary.write_text(json.dumps(dict(facts), indent=1), encoding="utf-8")
    prune(folder.parent)


def prune(root: Path) -> None:
    """Throw away the networks below `root` that were not used for longest, until few and small enough are left."""
    used = {facts.parent: facts.stat().st_mtime for facts in root.glob(f"*/{FACTS_FILE}")}
    newest_first = sorted(used, key=lambda folder: used[folder], reverse=True)
    kept_bytes, now = 0, time.time()
    for number, folder in enumerate(newest_first):
        kept_bytes += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if (number >= MOST_NETWORKS or kept_bytes > MOST_BYTES) and now - used[folder] > IN_USE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
