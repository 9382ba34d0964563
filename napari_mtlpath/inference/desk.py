"""The desk between the view, the reader threads and the inference thread: what is wished for, read, and settled."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.bag import Bag
from napari_mtlpath.inference.schedule import Ordering, Schedule, View
from napari_mtlpath.tiles.grid import TileGrid

LONGEST_WAIT = 0.25  # seconds between looks at the clock while nothing happens


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far the work is; equal when nothing changed that a user would see."""

    generation: int
    visible_known: int
    visible_total: int
    tiles_known: int
    tiles_total: int
    unreadable: int
    queue: int
    complete: bool
    busy: bool
    paused: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadTile:
    """A tile as the encoder takes it."""

    index: int
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """Leave to read one tile; void after a restart."""

    index: int
    run: int


class Desk:
    """Shared state behind one lock. Nothing slow happens while it is held.

    Parameters
    ----------
    grid
        The tiles.
    clock
        The time in seconds.
    idle_after
        Seconds of rest after which the tissue outside the view follows.
    readers
        Number of reader threads.
    """

    def __init__(self, grid: TileGrid, *, clock: Callable[[], float], idle_after: float, readers: int) -> None:
        self._grid = grid
        self._clock = clock
        self._idle_after = idle_after
        self._readers = readers
        self._changed = threading.Condition()
        self._view: View | None = None
        self._schedule: Schedule | None = None
        self._bag = Bag(len(grid), np.empty(0, dtype=np.int64))
        self._total = 0
        self._room = 2 * readers
        self._reading: dict[int, float] = {}
        self._ready: list[ReadTile] = []
        self._unreadable: list[int] = []
        self._run = 0
        self._generation = 0
        self._paused = False
        self._halted = False
        self._called = False
        self._restart = False
        self._error: Exception | None = None

    # --- for the view: returns at once

    def look_at(self, view: View) -> bool:
        """Take notice of the visible rectangle; return whether it is a new one."""
        with self._changed:
            moved = view != self._view
            self._generation += moved
            self._view = view
            if self._schedule is not None:
                self._schedule.look_at(view, self._clock())
                self._drop_unwanted()
            self._call()
            return moved

    def pause(self, paused: bool) -> None:
        """Stop taking up tiles, or go on."""
        with self._changed:
            self._paused = paused
            self._call()

    def wake(self) -> None:
        """Let the inference thread look at what has changed."""
        with self._changed:
            self._call()

    def ask_restart(self) -> None:
        """Ask the inference thread to begin again."""
        with self._changed:
            self._restart = True
            self._call()

    def halt(self) -> None:
        """Let every thread end."""
        with self._changed:
            self._halted = True
            self._call()

    @property
    def halted(self) -> bool:
        """Whether every thread is to end."""
        with self._changed:
            return self._halted

    # --- for the reader threads

    def take(self) -> Ticket | None:
        """Wait for a tile worth reading; None when the thread is to end."""
        while True:
            with self._changed:
                found = self._wait_for_work()
                if not isinstance(found, Ordering):
                    return found
            order = found.answer()  # without the lock: the view must not wait for it
            with self._changed:
                if self._schedule is not None:
                    self._schedule.accept(found, order)
                self._call()

    def deliver(self, ticket: Ticket, pixels: NDArray[np.uint8] | None) -> None:
        """Hand in what was read; None where the tile is unreadable."""
        with self._changed:
            if ticket.run != self._run or self._schedule is None:
                return
            self._reading.pop(ticket.index, None)
            if pixels is None:
                self._bag.mark_unreadable([ticket.index])
                self._unreadable.append(ticket.index)
                self._schedule.release(ticket.index)
                self._call()
            elif self._schedule.wants(ticket.index):
                self._ready.append(ReadTile(index=ticket.index, pixels=pixels))
            else:
                self._schedule.release(ticket.index)
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """Pass a reader's error on to the inference thread."""
        with self._changed:
            self._error = self._error or error
            self._call()

    # --- for the inference thread

    def begin(self, tissue: NDArray[np.bool_], bag: Bag) -> None:
        """Open the work, or open it anew: what was read before is void."""
        with self._changed:
            self._run += 1
            self._reading.clear()
            self._ready.clear()
            self._unreadable.clear()
            now = self._clock()
            self._generation += 1
            self._schedule = Schedule(self._grid, tissue, idle_after=self._idle_after, now=now)
            if self._view is not None:
                self._schedule.look_at(self._view, now)
            self._bag = bag
            self._total = int(tissue.sum())
            self._call()

    def wait_for_tiles(self, size: int, timeout: float) -> list[ReadTile]:
        """Wait for up to `size` tiles that were read; may be none, when something else wants attention.

        Raises
        ------
        Exception
            What a reader thread raised.
        """
        with self._changed:
            self._room = max(2 * size, size + self._readers)
            if not (self._ready and not self._paused) and not self._called and not self._halted:
                self._changed.wait(timeout)
            self._called = False
            if self._error is not None:
                raise self._error
            if self._paused or self._halted or self._restart:
                return []
            batch, self._ready = self._ready[:size], self._ready[size:]
            return batch

    def settle(self, indices: NDArray[np.int64]) -> None:
        """Note tiles as known; their embeddings are in the bag already."""
        with self._changed:
            self._bag.mark_known(indices)
            if self._schedule is not None:
                for index in indices:
                    self._schedule.release(int(index))
            self._changed.notify_all()

    def take_unreadable(self) -> NDArray[np.int64]:
        """Return the tiles found unreadable since the last call."""
        with self._changed:
            found, self._unreadable = self._unreadable, []
            return np.array(found, dtype=np.int64)

    def take_restart(self) -> bool:
        """Return whether a restart was asked for since the last call."""
        with self._changed:
            asked, self._restart = self._restart, False
            return asked

    def resting(self) -> bool:
        """Whether the view stands still."""
        with self._changed:
            return self._schedule is not None and self._schedule.resting(self._clock())

    def in_view(self) -> NDArray[np.int64]:
        """Return the tiles in view, ascending."""
        with self._changed:
            return self._grid.tiles_in(*self._view) if self._view is not None else np.empty(0, dtype=np.int64)

    def longest_read(self) -> float:
        """Return for how many seconds the oldest read has been under way."""
        with self._changed:
            return self._clock() - min(self._reading.values()) if self._reading else 0.0

    def standing(self) -> Standing:
        """Return how far the work is."""
        with self._changed:
            schedule, settled = self._schedule, self._bag.settled
            visible = schedule.visible(settled) if schedule is not None else (0, 0)
            return Standing(
                generation=self._generation,
                visible_known=visible[0],
                visible_total=visible[1],
                tiles_known=self._bag.known,
                tiles_total=self._total,
                unreadable=self._bag.unreadable,
                queue=schedule.pending if schedule is not None else 0,
                complete=schedule is not None and self._bag.complete,
                busy=schedule is None or schedule.pending > 0 or schedule.waiting,
                paused=self._paused,
            )

    # --- with the lock held

    def _wait_for_work(self) -> Ticket | Ordering | None:
        while not self._halted:
            if self._schedule is not None and not self._paused and not self._restart:
                index = self._schedule.take(self._bag.settled) if self._schedule.pending < self._room else None
                if index is not None:
                    self._reading[index] = self._clock()
                    return Ticket(index=index, run=self._run)
                ordering = self._schedule.ask(self._bag.settled, self._clock())
                if ordering is not None:
                    return ordering
            self._changed.wait(self._nap())
        return None

    def _nap(self) -> float:
        if self._schedule is None or self._paused:
            return LONGEST_WAIT
        remaining = self._schedule.seconds_to_idle(self._clock())
        return min(LONGEST_WAIT, remaining) if remaining > 0 else LONGEST_WAIT

    def _drop_unwanted(self) -> None:
        assert self._schedule is not None
        kept = []
        for tile in self._ready:
            if self._schedule.wants(tile.index):
                kept.append(tile)
            else:
                self._schedule.release(tile.index)
        self._ready = kept

    def _call(self) -> None:
        """Ask for the inference thread's attention."""
        self._called = True
        self._changed.notify_all()
