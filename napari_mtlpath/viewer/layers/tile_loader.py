"""Loads the tiles of the current view in threads: nearest to the centre first, forgetting what left the view."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.viewer.layers.composition import Box, PyramidShape, TileKey

if TYPE_CHECKING:
    from napari_mtlpath.slides.slide import Slide

READERS = 4
"""Loader threads of one slide. Decoding runs without the GIL; four also hide the latency of a network drive."""

RING_DELAY_S = 0.3
"""How long a view must be complete and unchanged before tiles just outside of it are loaded."""

PACE_TILES = 16
"""How many of a level's latest tiles tell how long its next ones will take."""

VIEW_PIXELS = 2**26
"""A larger view is shown from coarser levels only (a level locked by hand on a huge slide)."""


class View(NamedTuple):
    """What is looked at: a rectangle of one level."""

    level: int
    box: Box


class TileLoader:
    """Threads with a wish list that every new view replaces.

    Tiles of the view are held in memory as long as the view lasts, so a cache flooded by a scan of the whole slide
    cannot take them away. When the view is complete and stands still, a ring of tiles around it follows.

    Parameters
    ----------
    slide
        Whose tiles. Its `load_tile` blocks and never raises; its `cached_tile` does neither.
    shape
        Sizes of the slide's pyramid.
    on_tile
        Called from a loader thread with every tile that was loaded and whether the current view
        shows it, and whether it completes that view.
    on_view
        Called with every new view, in the thread that slices.
    readers
        How many threads.
    ring_delay_s
        See :data:`RING_DELAY_S`; infinite for no ring.
    """

    def __init__(
        self,
        slide: "Slide",
        shape: PyramidShape,
        *,
        on_tile: Callable[[TileKey, NDArray[np.uint8], bool, bool], None],
        on_view: Callable[[], None] = lambda: None,
        readers: int = READERS,
        ring_delay_s: float = RING_DELAY_S,
    ) -> None:
        self._slide = slide
        self._shape = shape
        self._on_tile = on_tile
        self._on_view = on_view
        self._ring_delay_s = ring_delay_s
        lock = threading.RLock()
        self._changed, self._complete = threading.Condition(lock), threading.Condition(lock)
        self._view: View | None = None
        self._visible: frozenset[TileKey] = frozenset()
        self._stones: frozenset[TileKey] = frozenset()
        self._awaited: set[TileKey] = set()
        self._paces: dict[int, deque[float]] = {}
        self._held: dict[TileKey, NDArray[np.uint8]] = {}
        self._always: list[TileKey] = []
        self._always_loading: set[TileKey] = set()
        self._wanted: list[TileKey] = []
        self._ring: list[TileKey] = []
        self._ring_due = float("inf")
        self._loading: set[TileKey] = set()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"mtlpath-tiles-{index}", daemon=True) for index in range(readers)
        ]
        self._started = False

    @property
    def busy(self) -> bool:
        """Whether a tile of the current view is still to come."""
        with self._changed:
            return bool(self._wanted or self._always or self._always_loading or self._loading & self._visible)

    @property
    def view(self) -> View | None:
        """What is looked at, as napari asked for it last."""
        return self._view

    def forget(self) -> None:
        """Let go of the tiles that are held for the view; they are read again when they are asked for."""
        with self._changed:
            self._view, self._visible, self._held = None, frozenset(), {}

    def tile(self, key: TileKey) -> NDArray[np.uint8] | None:
        """Return a tile from memory, or None; never waits for a file."""
        held = self._held.get(key)
        return held if held is not None else self._slide.cached_tile(*key)

    def demand(self, keys: Iterable[TileKey]) -> None:
        """Load these tiles whatever the view, with half of the threads: where they are dear, the view still comes."""
        with self._changed:
            self._always.extend(keys)
            self._start()
            self._changed.notify_all()

    def look(self, view: View, *, missing: Iterable[TileKey], first: Iterable[TileKey] = ()) -> None:
        """Replace the wish list by what this view lacks.

        Parameters
        ----------
        view
            What is looked at now.
        missing
            Tiles of the view that are not in memory; loaded from the centre outwards.
        first
            Coarser tiles to load before them, so that a far jump is not blurred for long.
        """
        row, column = self._centre(view)
        stones = tuple(first)
        nearest_last = sorted(missing, key=lambda key: -((key.row - row) ** 2 + (key.column - column) ** 2))
        with self._changed:
            if self._stopping:
                return
            if view != self._view:
                self._see(view)
                self._on_view()
            self._stones = frozenset(stones)
            wanted = [*nearest_last, *stones]
            self._wanted = [key for key in wanted if key not in self._loading]
            self._start()
            self._changed.notify_all()

    def wait_for(self, view: View, *, patience: float) -> None:
        """Load what a view lacks, and wait for it if it is expected within so many seconds; else do nothing.

        After `patience` seconds the wait is over, whatever has come by then. Tiles that come during the wait are
        announced as not useful: whoever waited sees them without being told.
        """
        awaited = {key for key, _ in self._shape.keys_in(view.level, view.box) if self.tile(key) is None}
        deadline = time.monotonic() + patience
        with self._changed:
            if not awaited or self._expected(view.level, len(awaited)) > patience:
                return
            self._awaited = awaited
            self.look(view, missing=tuple(awaited))
            while awaited and self._awaited is awaited and not self._stopping:
                if not self._complete.wait(max(0.0, deadline - time.monotonic())):
                    break
            if self._awaited is awaited:
                self._awaited = set()

    def _expected(self, level: int, tiles: int) -> float:
        """Return how many seconds so many tiles of a level will take; a new level is thought as slow as any other.

        The quicker tiles count: others stood back behind drawing, which does not happen while the drawing thread waits.
        """
        paces = {other: sorted(paces)[len(paces) // 4] for other, paces in self._paces.items()}
        if not paces:
            return float("inf")
        return paces.get(level, max(paces.values())) * -(-tiles // len(self._threads))

    def close(self, *, timeout: float) -> None:
        """Stop loading and wait for the threads, at most `timeout` seconds in all. Closing twice is harmless."""
        with self._changed:
            self._stopping = True
            for queue in (self._always, self._wanted, self._ring):
                queue.clear()
            self._visible, self._held = frozenset(), {}
            self._changed.notify_all()
            self._complete.notify_all()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _start(self) -> None:
        if not self._started and not self._stopping:
            self._started = True
            for thread in self._threads:
                thread.start()

    def _centre(self, view: View) -> tuple[float, float]:
        height, width = self._shape.tiles[view.level]
        box = view.box
        return (box.top + box.bottom) / (2 * height) - 0.5, (box.left + box.right) / (2 * width) - 0.5

    def _see(self, view: View) -> None:
        self._view = view
        self._visible = frozenset(key for key, _ in self._shape.keys_in(view.level, view.box))
        held = {key: self.tile(key) for key in self._visible}
        self._held = {key: tile for key, tile in held.items() if tile is not None}
        self._ring = self._ring_around(view)
        self._ring_due = time.monotonic() + self._ring_delay_s

    def _ring_around(self, view: View) -> list[TileKey]:
        """Return the tiles that touch the view from outside, those nearest to its centre last."""
        tile_height, tile_width = self._shape.tiles[view.level]
        height, width = self._shape.levels[view.level]
        box = view.box
        wider = Box(
            max(0, box.top - tile_height),
            min(height, box.bottom + tile_height),
            max(0, box.left - tile_width),
            min(width, box.right + tile_width),
        )
        row, column = self._centre(view)
        ring = [key for key, _ in self._shape.keys_in(view.level, wider) if key not in self._visible]
        return sorted(ring, key=lambda key: -((key.row - row) ** 2 + (key.column - column) ** 2))

    def _work(self) -> None:
        while (key := self._next()) is not None:
            tile = self._slide.cached_tile(*key)
            pace = None
            if tile is None:
                start = time.monotonic()
                tile = self._slide.load_tile(*key).array
                pace = time.monotonic() - start
            with self._changed:
                if self._stopping:
                    return
                if key in self._visible:
                    self._held[key] = tile
                if pace is not None:
                    self._paces.setdefault(key.level, deque(maxlen=PACE_TILES)).append(pace)
                useful = key not in self._awaited and (key in self._visible or key in self._stones)
                self._awaited.discard(key)
                if not self._awaited:
                    self._complete.notify_all()
                last = key in self._visible and not self._wanted and self._loading & self._visible == {key}
            self._on_tile(key, tile, useful, last)
            with self._changed:  # Only now: the view is complete when its last tile has been announced.
                self._loading.discard(key)
                self._always_loading.discard(key)
                if key in self._visible:
                    self._ring_due = time.monotonic() + self._ring_delay_s
                    self._changed.notify_all()

    def _next(self) -> TileKey | None:
        """Wait for the next tile to load; None when the loader is closed."""
        with self._changed:
            while not self._stopping:
                queue, wait = self._queue()
                if not queue:
                    self._changed.wait(wait)
                    continue
                key = queue.pop()
                if key in self._loading or (queue is self._ring and self.tile(key) is not None):
                    continue
                self._loading.add(key)
                if queue is self._always:
                    self._always_loading.add(key)
                return key
        return None

    def _queue(self) -> tuple[list[TileKey], float | None]:
        """Return the list whose turn it is, or an empty one with how many seconds to wait for the ring's turn."""
        if self._always and len(self._always_loading) < max(1, len(self._threads) // 2):
            return self._always, None
        if self._wanted or not self._ring or self._loading & self._visible:
            return self._wanted, None
        wait = self._ring_due - time.monotonic()
        return (self._ring, None) if wait <= 0 else ([], min(wait, threading.TIMEOUT_MAX))
