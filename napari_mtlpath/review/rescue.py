"""Labels that the journal's disk refused to the end: kept elsewhere, and brought back at the next start."""

import contextlib
import hashlib
import logging
import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from napari_mtlpath.folders import cache_folder, data_folder
from napari_mtlpath.review.events import LabelEvent
from napari_mtlpath.review.journal import Journal

logger = logging.getLogger(__name__)


def rescue(events: Sequence[LabelEvent]) -> Path:
    """Write events to the first place that takes them: the cache, the user's home, the system's temporary folder.

    Returns
    -------
    The file; :func:`bring_back` finds it.

    Raises
    ------
    OSError
        If no place takes them.
    """
    refused: list[str] = []
    for folder in _places():
        path = folder / f"{_beginning()}{uuid.uuid4().hex}.sqlite"
        try:
            journal = Journal(path)
            try:
                journal.append(events)
            finally:
                journal.close()
        except OSError as error:
            refused.append(str(error))
            _remove(path)
        else:
            return path
    raise OSError(f"{len(events)} labels could not be saved anywhere: {'; '.join(refused)}")


def bring_back(journal: Journal) -> int:
    """Write what was rescued to the journal it belongs to, and remove those files; return how many labels it was.

    Raises
    ------
    OSError
        If the journal refuses; the files stay then.
    """
    count = 0
    for path in _rescued():
        kept = Journal(path)
        try:
            events = [entry.event for entry in kept.read()]
        finally:
            kept.close()
        journal.append(events)
        _remove(path)
        count += len(events)
    return count


def _places() -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield cache_folder()
    with contextlib.suppress(RuntimeError):  # a user without a home
        yield Path.home()
    yield Path(tempfile.gettempdir())


def _rescued() -> Iterator[Path]:
    for folder in _places():
        for path in sorted(folder.glob(f"{_beginning()}*.sqlite")):
            if _is_own(path):
                yield path


def _beginning() -> str:
    """Return how files begin that belong to this user's data folder."""
    return f"mtlpath-labels-{hashlib.sha256(str(data_folder().resolve()).encode()).hexdigest()[:12]}-"


def _is_own(path: Path) -> bool:
    """Whether this user wrote a file: everybody may write to the temporary folder."""
    return not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()


def _remove(path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        Path(f"{path}{ending}").unlink(missing_ok=True)
