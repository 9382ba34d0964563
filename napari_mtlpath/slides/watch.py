"""Noticing that a slide's file was changed, replaced or taken away while it is open."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from napari_mtlpath.slides.fingerprint import edges
from napari_mtlpath.slides.shared_file import SharedFile


@dataclass(frozen=True, kw_only=True)
class FileWatch:
    """A file's state at one moment.

    Attributes
    ----------
    path
        The file.
    status
        Its size, time of writing and inode.
    digest
        SHA-256 of its first and last 64 KiB.
    """

    path: Path
    status: tuple[int, int, int]
    digest: str

    @classmethod
    def begin(cls, file: SharedFile) -> "FileWatch":
        """Take down the state of an open file."""
        return cls(path=file.path, status=_status(file.status), digest=_digest(file))

    def change(self) -> str | None:
        """Return a sentence that says what happened to the file since, or None."""
        name = self.path.name
        try:
            now = _status(self.path.stat())
            if now[0] != self.status[0]:
                return f"The slide {name!r} changed on disk: it had {self.status[0]} bytes and now has {now[0]}."
            file = SharedFile(self.path)
            try:
                digest = _digest(file)
            finally:
                file.close()
        except (OSError, ValueError) as error:
            return f"The slide {name!r} can no longer be found on disk: {error}"
        if now[2] != self.status[2]:
            return f"The slide {name!r} was replaced by another file on disk."
        if now[1] != self.status[1] or digest != self.digest:
            return f"The slide {name!r} was written to on disk after it was opened."
        return None


def _status(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _digest(file: SharedFile) -> str:
    return hashlib.sha256(edges(file)).hexdigest()
