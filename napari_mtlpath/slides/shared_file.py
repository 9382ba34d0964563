"""One file descriptor that any number of threads read from at their own positions."""

import io
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mtlpath.slides.source import SlideError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class _Descriptor:
    """An open descriptor that is closed when the last thread that uses it lets go of it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


class SharedFile:
    """A regular file opened for positioned reads.

    Parameters
    ----------
    path
        The file. Folders, pipes and devices are refused before they are opened, so that none can block.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    SlideError
        If it is not a regular file, is empty, or may not be read.

    Notes
    -----
    Closing while other threads read is safe: their reads finish on the old descriptor, later ones raise ``OSError``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise SlideError(f"{path.name!r} is not a regular file. Choose a slide file.")
            # O_NONBLOCK: should the file turn into a pipe in this instant, opening still returns at once.
            flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
            self._descriptor: _Descriptor | None = _Descriptor(os.open(path, flags))
        except FileNotFoundError:
            raise FileNotFoundError(f"There is no file {str(path)!r}. Check the path.") from None
        except (OSError, ValueError) as error:
            if isinstance(error, SlideError):
                raise
            raise SlideError(f"{path.name!r} cannot be read: {error}. Check its permissions.") from error
        self.status = os.fstat(self._descriptor.number)
        self.size = self.status.st_size
        self._seek_lock = threading.Lock()
        if self.size == 0:
            raise SlideError(f"{path.name!r} is empty (0 bytes). Copy or download the slide again.")

    def read_at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`; fewer only at the end of the file.

        Raises
        ------
        OSError
            If the storage fails or the file was closed.
        """
        descriptor = self._descriptor
        if descriptor is None:
            raise OSError(f"{self.path.name!r} is closed")
        if hasattr(os, "pread"):
            data = os.pread(descriptor.number, count, offset)
            while 0 < len(data) < count:  # network file systems may return less than was asked for
                more = os.pread(descriptor.number, count - len(data), offset + len(data))
                if not more:
                    break
                data += more
            return data
        with self._seek_lock:
            os.lseek(descriptor.number, offset, os.SEEK_SET)
            return os.read(descriptor.number, count)

    def close(self) -> None:
        """Let the file go. Closing twice is harmless."""
        self._descriptor = None


class PatchedStream(io.RawIOBase):
    """A `SharedFile` as a seekable stream in which some bytes are replaced while reading.

    Parameters
    ----------
    file
        The file behind it; not closed with the stream.
    patches
        Replacement bytes by file offset.
    """

    def __init__(self, file: SharedFile, patches: Mapping[int, bytes]) -> None:
        self._file = file
        self._patches = dict(patches)
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset` bytes from the start, the current position or the end."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill `buffer` from the current position and return how many bytes were read."""
        view = memoryview(buffer).cast("B")
        start = self._position
        data = bytearray(self._file.read_at(start, len(view)))
        for offset, patch in self._patches.items():
            first, last = max(offset, start), min(offset + len(patch), start + len(data))
            if first < last:
                data[first - start : last - start] = patch[first - offset : last - offset]
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
