"""One training at a time in one folder."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

LOCK_FILE = "training.lock"


@contextlib.contextmanager
def locked(folder: Path, *, file: str = LOCK_FILE) -> Iterator[None]:
    """Hold `folder` for this process while the block runs; a lock that a killed process left is taken over.

    Raises
    ------
    BlockingIOError
        If a training that may still run holds it, here or on another machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file
    if path.is_file() and _is_left_behind(path.read_text(encoding="utf-8")):
        path.unlink(missing_ok=True)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError as error:
        holder = path.read_text(encoding="utf-8").strip() or "unknown"
        raise BlockingIOError(
            f"Another training writes to {folder} (process {holder}). Wait until it ends, or stop it; if it is gone, "
            f"delete {path}."
        ) from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(_name())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _name() -> str:
    return f"{os.getpid()} on {socket.gethostname()}"


def _is_left_behind(holder: str) -> bool:
    """Return whether the process that a lock names ran on this machine and is gone."""
    number, _, host = holder.strip().partition(" on ")
    if host != socket.gethostname() or not number.isdigit() or os.name == "nt":  # Windows has no harmless way to ask
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
