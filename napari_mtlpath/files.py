"""Writing files so that a killed program leaves either the old file or the new one."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success sync it and rename it over `path`, else remove it.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("kept", encoding="utf-8")
    >>> target.read_text(encoding="utf-8")
    'kept'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: writers such as tifffile and h5py look at it.
    temporary = path.with_name(f".{path.stem}.partial-{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary copy of `folder` (empty where there is none); on success sync it and put it in its place.

    What the caller does not touch stays as it was. A killed program leaves the old folder, the new one, or (killed
    between two renames) the old one beside it under a hidden name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex
    temporary, old = (folder.with_name(f".{folder.name}.{word}-{mark}") for word in ("partial", "old"))
    try:
        if folder.exists():
            shutil.copytree(folder, temporary)
        else:
            temporary.mkdir()
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                with path.open("rb+") as written:
                    os.fsync(written.fileno())
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        _sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
