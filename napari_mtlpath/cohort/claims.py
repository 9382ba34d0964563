"""Which slide a worker is on: a small file per attempt, so that a death is blamed on the slide that caused it.

dask counts a worker's death against every task that waited there; a file that a dead worker left behind tells the
truth, whatever the scheduler's settings are, and also when the client died too.
"""

import contextlib
import os
import uuid
from pathlib import Path

FOLDER = ".in-work"

MOST_DEATHS = 3
"""Workers that a slide may cost: the first and two more, in case the first died of something else."""


def claim(stem: str) -> Path:
    """Write a file beginning with `stem` for an attempt that begins now; remove it when the attempt is over.

    Its first line is the process; what a watchdog has to say before it ends the process follows.
    """
    path = Path(f"{stem}.{uuid.uuid4().hex}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{os.getpid()}\n", encoding="utf-8")
    return path


def verdict(stem: str) -> str | None:
    """Return why a slide is not tried again: what a watchdog said, or how many workers it cost; None to try it.

    Examples
    --------
    >>> import tempfile
    >>> stem = str(Path(tempfile.mkdtemp()) / "slide")
    >>> for attempt in range(3):
    ...     print(verdict(stem))
    ...     _ = Path(f"{stem}.{attempt}").write_text("1234")
    None
    None
    None
    >>> verdict(stem)
    'It killed its worker 3 times: the file may be damaged, or memory too short.'
    """
    left = _left(stem)
    for path in left:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            words = path.read_text(encoding="utf-8").partition("\n")[2].strip()
            if words:
                return words
    if len(left) >= MOST_DEATHS:
        return f"It killed its worker {len(left)} times: the file may be damaged, or memory too short."
    return None


def forget(stem: str) -> None:
    """Remove what dead attempts left."""
    for path in _left(stem):
        path.unlink(missing_ok=True)


def _left(stem: str) -> list[Path]:
    path = Path(stem)
    return sorted(path.parent.glob(f"{path.name}.*"))
