"""The answers of a pixel model for a slide: near ones in memory, all of them on disk, an overview always at hand."""

import threading
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.pixels.blend import blend, levels_of
from napari_mtlpath.inference.pixels.lattice import HALVINGS, Lattice
from napari_mtlpath.inference.pixels.planes import Planes
from napari_mtlpath.inference.pixels.tally import Tally
from napari_mtlpath.inference.pixels.window_file import WindowFile
from napari_mtlpath.inference.threads import start_thread
from napari_mtlpath.slides.cache import TileCache

BUDGET_BYTES = 512 * 2**20
"""Memory for windows and blended cores: some thousand of them, many times what a screen shows."""

WINDOW, CORE = "window", "core"


class PixelMaps:
    """A bounded, thread-safe store of blended answers.

    One thread alone adds windows. Any thread may look; what memory has let go of is blended anew from the file by a
    thread of its own when it is wanted. Of every core an overview stays in memory: its answer halved
    :data:`HALVINGS` times, a 256th of its pixels.

    Parameters
    ----------
    lattice, planes
        Where the answers lie, and what they hold.
    file
        Where the windows go; closed with the maps.
    budget
        Bytes of memory for windows and cores.

    Attributes
    ----------
    tally
        What is counted.
    on_restored
        Called, from a thread, when something that was wanted is in memory again.
    """

    def __init__(self, lattice: Lattice, planes: Planes, *, file: WindowFile, budget: int = BUDGET_BYTES) -> None:
        self.lattice = lattice
        self.planes = planes
        self.on_restored: Callable[[], None] = lambda: None
        self._file = file
        self._memory = TileCache(max_bytes=budget)
        self._blending = threading.Lock()
        self._changed = threading.Condition()
        self._wanted: list[int] = []
        self._restorer: threading.Thread | None = None
        self._closed = False
        self._begin()

    @property
    def overview(self) -> NDArray[np.uint8]:
        """All cores halved :data:`HALVINGS` times, [plane, y, x]; 0 where nothing is known."""
        return self._overview

    @property
    def known(self) -> NDArray[np.bool_]:
        """Cores that are analysed, [row, column]. A view: it changes as answers come."""
        return self._known

    @property
    def version(self) -> int:
        """Counts the additions; equal when nothing was added."""
        return self._version

    @property
    def nbytes(self) -> int:
        """Bytes of windows and cores in memory."""
        return self._memory.nbytes

    @property
    def kept(self) -> NDArray[np.int64]:
        """Tiles whose windows are on disk, ascending: also those of an earlier run that were not yet added."""
        return self._file.indices()

    def add(self, indices: Iterable[int], windows: NDArray[np.uint8], numbers: NDArray[np.float32]) -> None:
        """Take the answers for some tiles: planes [tile, plane, y, x] and the tile tasks' numbers [tile, output].

        Raises
        ------
        OSError
            If the disk is full.
        """
        added = [int(index) for index in indices]
        for index, window, said in zip(added, windows, numbers, strict=True):
            self._file.put(index, window, said)
            self._memory.put((WINDOW, index), window.copy())
        self._take_in(added, numbers)

    def recall(self, indices: Iterable[int]) -> None:
        """Add tiles whose windows are on disk already."""
        there = [int(index) for index in indices]
        said = [numbers for index in there if (numbers := self._file.numbers(index)) is not None]
        if len(said) == len(there) > 0:
            self._take_in(there, np.stack(said))

    def core(self, index: int, level: int) -> NDArray[np.uint8] | None:
        """Return a core's planes [plane, y, x], halved `level` times, if they are in memory; never waits."""
        return self._memory.get((CORE, index, level))

    def blended(self, index: int, level: int = 0) -> NDArray[np.uint8] | None:
        """Return a core's planes, halved `level` times, reading what is needed; None where the core is not known."""
        core = self._memory.get((CORE, index, level))
        if core is not None or not self._known.flat[index]:
            return core
        with self._blending:
            levels = self._blend(index)
        return levels[level] if levels is not None else None

    def want(self, indices: Iterable[int]) -> None:
        """Ask for cores to be brought back into memory; replaces what was asked for before. Returns at once."""
        with self._changed:
            self._wanted = [int(index) for index in indices if self._known.flat[index]][::-1]
            if self._wanted and self._restorer is None and not self._closed:
                self._restorer = start_thread("mtlpath-pixels", self._restore, on_failure=self._give_up)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget all answers."""
        with self._blending:
            self._file.clear()
            self._memory.drop(WINDOW)
            self._memory.drop(CORE)
            self._begin()

    def close(self, *, delete: bool = True) -> None:
        """Let go of memory and file. Closing twice is harmless; nothing is found any more."""
        with self._changed:
            self._closed = True
            self._wanted.clear()
            self._changed.notify_all()
        self._file.close(delete=delete)
        self._memory.drop(WINDOW)
        self._memory.drop(CORE)
        if self._restorer is not None and self._restorer is not threading.current_thread():
            self._restorer.join(timeout=5.0)

    def _begin(self) -> None:
        rows, columns = self.lattice.shape
        small = 2**HALVINGS
        self._overview = np.zeros((self.planes.blended, rows // small, columns // small), np.uint8)
        self._known = np.zeros(self.lattice.grid.shape, dtype=np.bool_)
        self._version = getattr(self, "_version", 0) + 1
        self.tally = Tally(self.lattice, self.planes)

    def _take_in(self, indices: list[int], numbers: NDArray[np.float32]) -> None:
        with self._blending:
            for index, said in zip(indices, numbers, strict=True):
                self.tally.note(index, said)
                self._known.flat[index] = True
            for index in self.lattice.touched(np.array(indices, dtype=np.int64)).tolist():
                if self._known.flat[index]:
                    levels = self._blend(index)
                    if levels is not None:
                        self.tally.count(index, levels[0])
            self._version += 1

    def _blend(self, index: int) -> list[NDArray[np.uint8]] | None:
        """Blend a core from the windows that are known, and keep its levels. The blending lock is held."""
        windows = {
            (down, right): window
            for down, right, other in self.lattice.around(index)
            if self._known.flat[other] and (window := self._window(other)) is not None
        }
        if (0, 0) not in windows:
            return None
        levels = levels_of(blend(windows, self.lattice), self.planes)
        for level, core in enumerate(levels[:-1]):
            self._memory.put((CORE, index, level), core)
        small = levels[-1].shape[-1]
        row, column = self.lattice.grid.row_column(index)
        self._overview[:, row * small : (row + 1) * small, column * small : (column + 1) * small] = levels[-1]
        return levels

    def _window(self, index: int) -> NDArray[np.uint8] | None:
        window = self._memory.get((WINDOW, index))
        if window is None and (window := self._file.window(index)) is not None:
            self._memory.put((WINDOW, index), window)
        return window

    def _restore(self) -> None:
        while True:
            with self._changed:
                while not self._wanted and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                index = self._wanted.pop()
                last = not self._wanted
            if self._memory.get((CORE, index, 0)) is None:
                with self._blending:
                    self._blend(index)
            if last and not self._closed:
                self.on_restored()

    def _give_up(self, _: Exception) -> None:
        """Bring nothing back: the file cannot be read, and the overview stays on screen."""
        with self._changed:
            self._wanted.clear()
