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

BLENDED_AT_ONCE = 64
"""Cores that are blended together: what lies in memory meanwhile stays a few megabytes."""

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
        self._closed = self._resting = False
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
    def bytes_on_disk(self) -> int:
        """Bytes of windows on disk."""
        return self._file.nbytes

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
        self._file.put(added, windows, numbers)
        for index, window in zip(added, windows, strict=True):
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
        core = self._memory.get((CORE, index, level)) if index not in self._rough else None
        if core is not None or not self._known.flat[index]:
            return core
        with self._blending:
            found = self._blend([index])
        return found[level][0] if found is not None else None

    def finish(self, indices: Iterable[int] | None = None) -> None:
        """Blend the cores, all or some, that are shown as they came because neighbours were still missing."""
        with self._blending:
            rough = sorted(self._rough if indices is None else self._rough.intersection(indices))
            if rough:
                self._blend(rough)
                self._version += 1

    def unfinished(self, indices: Iterable[int]) -> int:
        """Return how many of some cores are not blended with what is known around them."""
        return len(self._rough.intersection(indices))

    def want(self, indices: Iterable[int]) -> None:
        """Ask for cores to be brought back into memory; replaces what was asked for before. Returns at once."""
        with self._changed:
            self._wanted = [int(index) for index in indices if self._known.flat[index]][::-1]
            if self._wanted and self._restorer is None and not (self._closed or self._resting):
                self._restorer = start_thread("mtlpath-pixels", self._restore, on_failure=self._give_up)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget all answers."""
        with self._blending:
            self._file.clear()
            self._memory.drop(WINDOW)
            self._memory.drop(CORE)
            self._begin()

    def rest(self) -> None:
        """Let go of memory, but for the overview, and of the thread, until :meth:`wake`; the file stays."""
        self.finish()
        self.on_restored = lambda: None
        self._resting = True
        self._let_go()

    def wake(self) -> None:
        """Bring back what is wanted again."""
        self._resting = False

    def close(self, *, delete: bool = True) -> None:
        """Let go of memory and file. Closing twice is harmless; nothing is found any more."""
        self._closed = True
        self._file.close(delete=delete)
        self._let_go()

    def _let_go(self) -> None:
        with self._changed:
            self._wanted.clear()
            self._changed.notify_all()
        restorer, self._restorer = self._restorer, None
        if restorer is not None and restorer is not threading.current_thread():
            restorer.join(timeout=5.0)
        self._memory.drop(WINDOW)
        self._memory.drop(CORE)

    def _begin(self) -> None:
        rows, columns = self.lattice.shape
        small = 2**HALVINGS
        self._overview = np.zeros((self.planes.blended, rows // small, columns // small), np.uint8)
        self._known = np.zeros(self.lattice.grid.shape, dtype=np.bool_)
        self._rough: set[int] = set()
        self._version = getattr(self, "_version", 0) + 1
        self.tally = Tally(self.lattice, self.planes)

    def _take_in(self, indices: list[int], numbers: NDArray[np.float32]) -> None:
        with self._blending:
            for index, said in zip(indices, numbers, strict=True):
                self.tally.note(index, said)
                self._known.flat[index] = True
            # A core is shown as it comes, and blended once: when all around it is there, or nothing more will come.
            touched = self.lattice.touched(np.array(indices, dtype=np.int64)).tolist()
            there = {index for index in touched if self._known.flat[index]}
            surrounded = {index for index in there if self._surrounded(index)}
            self._rough |= there - surrounded
            self._blend(sorted(set(indices) - surrounded), alone=True)
            self._blend(sorted(surrounded))
            self._version += 1

    def _surrounded(self, index: int) -> bool:
        """Whether all windows that reach into a core are known."""
        row, column = self.lattice.grid.row_column(index)
        return bool(self._known[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].all())

    def _blend(self, indices: list[int], *, alone: bool = False) -> list[NDArray[np.uint8]] | None:
        """Blend cores from the windows that are known, count them and keep their levels. The blending lock is held.

        Parameters
        ----------
        indices
            The cores.
        alone
            Whether to take each core from its own window for the time being.

        Returns
        -------
        Of the last cores, at most :data:`BLENDED_AT_ONCE`, the levels [core, plane, y, x]; None where there are none.
        """
        levels = None
        for first in range(0, len(indices), BLENDED_AT_ONCE):
            cores = {index: self._around(index, alone) for index in indices[first : first + BLENDED_AT_ONCE]}
            cores = {index: windows for index, windows in cores.items() if (0, 0) in windows}
            if cores:
                levels = levels_of(blend(list(cores.values()), self.lattice), self.planes)
                self._keep(list(cores), levels)
                self._rough.difference_update(() if alone else cores)
        return levels

    def _around(self, index: int, alone: bool) -> dict[tuple[int, int], NDArray[np.uint8]]:
        around = [(0, 0, index)] if alone else self.lattice.around(index)
        return {
            (down, right): window
            for down, right, other in around
            if self._known.flat[other] and (window := self._window(other)) is not None
        }

    def _keep(self, indices: list[int], levels: list[NDArray[np.uint8]]) -> None:
        small = levels[-1].shape[-1]
        for place, index in enumerate(indices):
            self.tally.count(index, levels[0][place])
            for level, cores in enumerate(levels[:-1]):
                self._memory.put((CORE, index, level), cores[place])
            row, column = self.lattice.grid.row_column(index)
            rows, columns = (slice(at * small, (at + 1) * small) for at in (row, column))
            self._overview[:, rows, columns] = levels[-1][place]

    def _window(self, index: int) -> NDArray[np.uint8] | None:
        window = self._memory.get((WINDOW, index))
        if window is None and (window := self._file.window(index)) is not None:
            self._memory.put((WINDOW, index), window)
        return window

    def _restore(self) -> None:
        while True:
            with self._changed:
                while not self._wanted and not (self._closed or self._resting):
                    self._changed.wait()
                if self._closed or self._resting:
                    return
                index = self._wanted.pop()
                last = not self._wanted
            if self._memory.get((CORE, index, 0)) is None:
                with self._blending:
                    self._blend([index])
            if last and not self._closed:
                self.on_restored()

    def _give_up(self, _: Exception) -> None:
        """Bring nothing back: the file cannot be read, and the overview stays on screen."""
        with self._changed:
            self._wanted.clear()
