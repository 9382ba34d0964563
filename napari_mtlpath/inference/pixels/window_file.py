"""Windows on disk: written once each, in any order, read back when the memory has let go of them."""

import json
import struct
import tempfile
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.pixels.lattice import Lattice
from napari_mtlpath.inference.pixels.planes import Planes

MAGIC = b"mtlpath windows 1\n"
_HEAD = struct.Struct("<4sqIII")
_MARK = b"wndw"
COMPRESSION_LEVEL = 1
"""Of Zstandard: a sure answer shrinks to a tenth at any level; higher ones only take longer."""


class WindowFile:
    """An append-only file of windows and their tiles' numbers, whole or absent after a crash. Thread-safe.

    Made by :meth:`kept` or :meth:`fleeting`.

    Parameters
    ----------
    file
        Open for reading and writing; what it holds is taken up, if it belongs to the same `key`.
    key
        Names everything that changes the windows: slide, model, lattice.
    lattice, planes
        How many tiles there may be, and what a window holds.
    path
        Where the file is, or None where it has no name.
    """

    def __init__(
        self, file: IO[bytes], *, key: str, lattice: Lattice, planes: Planes, path: Path | None = None
    ) -> None:
        tiles, side = len(lattice.grid), lattice.window_px
        self._shape = (planes.count, side, side)
        self._outputs = planes.outputs
        self._path = path
        self._file = file
        self._lock = threading.Lock()
        self._start = np.full(tiles, -1, dtype=np.int64)
        self._length = np.zeros(tiles, dtype=np.int64)
        facts = {"key": key, "shape": self._shape, "outputs": self._outputs, "tiles": tiles}
        head = MAGIC + json.dumps(facts).encode() + b"\n"
        self._first = len(head)
        if file.read(len(head)) == head:
            self._end = self._find_windows(len(head))
        else:
            file.seek(0)
            file.write(head)
            self._end = len(head)
        file.truncate(self._end)

    @classmethod
    def kept(cls, path: Path, key: str, lattice: Lattice, planes: Planes) -> "WindowFile":
        """Open or make a file that stays: what a killed program left there is taken up again."""
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("r+b" if path.is_file() else "w+b")
        return cls(file, key=key, lattice=lattice, planes=planes, path=path)

    @classmethod
    def fleeting(cls, folder: Path, *, key: str, lattice: Lattice, planes: Planes) -> "WindowFile":
        """Make a file without a name in a folder: the system deletes it when it is closed, or the program killed."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(tempfile.TemporaryFile(dir=folder), key=key, lattice=lattice, planes=planes)  # closed by `close`

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self._end

    def indices(self) -> NDArray[np.int64]:
        """Return the tiles that are there, ascending."""
        with self._lock:
            return np.flatnonzero(self._start >= 0).astype(np.int64)

    def put(self, indices: Sequence[int], windows: NDArray[np.uint8], numbers: NDArray[np.float32]) -> None:
        """Write the windows [tile, plane, y, x] and numbers [tile, output] of some tiles.

        Raises
        ------
        OSError
            If the disk is full, in one sentence.
        """
        import imagecodecs  # a second, which opening a viewer need not wait for

        heads, bodies = [], []
        for index, window, said in zip(indices, np.ascontiguousarray(windows), numbers.astype("<f4"), strict=True):
            body = said.tobytes() + imagecodecs.zstd_encode(window, level=COMPRESSION_LEVEL)
            heads.append(_HEAD.pack(_MARK, index, len(body), zlib.crc32(body), 0))
            bodies.append(body)
        with self._lock:
            if self._file.closed:
                return
            try:
                self._append(b"".join(part for record in zip(heads, bodies, strict=True) for part in record))
            except OSError as error:
                raise OSError(
                    f"The answers for tiles cannot be kept on disk: {error.strerror or error}. Free some space, or set "
                    "MTLPATH_HOME to a larger disk, and run the analysis again."
                ) from error
            for index, body in zip(indices, bodies, strict=True):
                self._start[index], self._length[index] = self._end + _HEAD.size, len(body)
                self._end += _HEAD.size + len(body)

    def window(self, index: int) -> NDArray[np.uint8] | None:
        """Read a tile's window [plane, y, x]; None where it is not there."""
        body = self._body(index)
        if body is None:
            return None
        import imagecodecs

        return np.frombuffer(imagecodecs.zstd_decode(body[4 * self._outputs :]), np.uint8).reshape(self._shape)

    def numbers(self, index: int) -> NDArray[np.float32] | None:
        """Read a tile's numbers; None where they are not there."""
        body = self._body(index)
        return np.frombuffer(body, "<f4", count=self._outputs).astype(np.float32) if body is not None else None

    def clear(self) -> None:
        """Forget all windows."""
        with self._lock:
            self._start[:] = -1
            self._end = self._first
            if not self._file.closed:
                self._file.truncate(self._end)

    def close(self, *, delete: bool = False) -> None:
        """Close the file, and delete it if asked to. Closing twice is harmless; nothing is read or written after."""
        with self._lock:
            self._file.close()
            self._start[:] = -1
        if delete and self._path is not None:
            self._path.unlink(missing_ok=True)

    def _append(self, record: bytes) -> None:
        self._file.seek(self._end)
        self._file.write(record)
        self._file.flush()

    def _body(self, index: int) -> bytes | None:
        with self._lock:
            if self._file.closed or self._start[index] < 0:
                return None
            self._file.seek(int(self._start[index]))
            return self._file.read(int(self._length[index]))

    def _find_windows(self, place: int) -> int:
        """Note where every whole window lies; return the end of the last one."""
        while True:
            self._file.seek(place)
            head = self._file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return place
            mark, index, length, checksum, _ = _HEAD.unpack(head)
            body = self._file.read(length) if mark == _MARK and 0 <= index < len(self._start) else b""
            if mark != _MARK or len(body) != length or zlib.crc32(body) != checksum:
                return place
            self._start[index], self._length[index] = place + _HEAD.size, length
            place += _HEAD.size + length
