"""Which tile is read next: the view's tiles, then, once the view rests, all the tissue around it."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.visible import order_rest, order_tiles

View = tuple[float, float, float, float]

MOVING_SECONDS = 0.5
"""Two new views within so long are a movement; a view that did not change for so long rests."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ordering:
    """The question which tiles come next, to be answered without a lock: on a large slide it takes a while.

    Attributes
    ----------
    grid, tissue
        The tiles, and which of them lie on tissue.
    known
        Tiles that need no work, [row, column].
    view
        What is visible, or None.
    background
        Whether all the tissue is wanted, not the view alone.
    version
        Names the wish list that asks; another view or another analysis has another.
    """

    grid: TileGrid
    tissue: NDArray[np.bool_]
    known: NDArray[np.bool_]
    view: View | None
    background: bool
    version: object

    def answer(self) -> list[int]:
        """Return tiles, most wanted first."""
        if self.background:
            return order_rest(self.grid, self.known, self.view, self.tissue)
        return order_tiles(self.grid, self.known, self.view, self.tissue) if self.view is not None else []


class Schedule:
    """The wish list of one slide. Not thread-safe: the caller locks.

    A new view replaces the list: what was only wished for is forgotten, what is being read or encoded stays `pending`
    until it is settled or released.

    Parameters
    ----------
    grid
        The tiles.
    tissue
        Tiles on tissue, [row, column].
    idle_after
        Seconds without a new view after which the rest of the tissue follows.
    now
        The time, in the caller's seconds.
    """

    def __init__(self, grid: TileGrid, tissue: NDArray[np.bool_], *, idle_after: float, now: float) -> None:
        self._grid = grid
        self._tissue = tissue
        self._idle_after = idle_after
        self._last_look = now
        self._last_move = float("-inf")
        self._moving = False
        self._view: View | None = None
        self._list: deque[int] | None = None
        self._version = object()
        self._asked = False
        self._near = np.zeros(len(grid), dtype=np.bool_)
        self._background = False
        self._pending: set[int] = set()

    @property
    def pending(self) -> int:
        """Number of tiles being read, waiting for the encoder, or in it."""
        return len(self._pending)

    @property
    def waiting(self) -> bool:
        """Whether tiles are wished for and not yet taken."""
        return bool(self._list) or self._asked or (self._list is None and self._view is not None)

    def look_at(self, view: View, now: float) -> None:
        """Take notice of the visible rectangle in level-0 pixels."""
        self._last_look = now
        if view == self._view:
            return
        # One new view is a jump, after which the eye rests; a second one soon after is a movement.
        self._moving = now - self._last_move < MOVING_SECONDS
        self._last_move = now
        self._view = view
        self._background = False
        self._list = None
        self._version = object()
        self._asked = False
        y0, x0, y1, x1 = view
        side = self._grid.side
        self._near[:] = False
        self._near[self._grid.tiles_in(y0 - side, x0 - side, y1 + side, x1 + side)] = True

    def wants(self, index: int) -> bool:
        """Whether a tile belongs to the present view with its ring, or to the tissue followed in the background."""
        return self._background or bool(self._near[index])

    def ask(self, settled: NDArray[np.bool_], now: float) -> Ordering | None:
        """Return the question to be answered before `take`; None where there is none, or it is being answered."""
        rested = not self._list and not self._background and self.seconds_to_idle(now) <= 0
        if self._asked or not (self._list is None or rested):
            return None
        self._asked = True
        self._background = rested
        busy = settled.copy()
        busy[list(self._pending)] = True
        return Ordering(
            grid=self._grid,
            tissue=self._tissue,
            known=busy.reshape(self._grid.shape),
            view=self._view,
            background=rested,
            version=self._version,
        )

    def accept(self, ordering: Ordering, order: list[int]) -> None:
        """Take the answer to a question for the list; one from before the present view is ignored."""
        if ordering.version is self._version:
            self._asked = False
            self._list = deque(order)

    def take(self, settled: NDArray[np.bool_]) -> int | None:
        """Return the next tile to read and hold it as pending; None where nothing is listed."""
        while self._list:
            index = self._list.popleft()
            if not settled[index] and index not in self._pending:
                self._pending.add(index)
                return index
        return None

    def release(self, index: int) -> None:
        """Let go of a pending tile: it is settled, or no longer wanted."""
        self._pending.discard(index)

    def seconds_to_idle(self, now: float) -> float:
        """Return how long the view must still rest before the rest of the tissue follows; 0 or less: it does."""
        return self._last_look + self._idle_after - now

    def resting(self, now: float) -> bool:
        """Whether the view stands still: no new one came lately, or it was a single one."""
        return not self._moving or now - self._last_look >= MOVING_SECONDS

    def visible(self, settled: NDArray[np.bool_]) -> tuple[int, int]:
        """Return how many tissue tiles of the view are settled, and how many there are."""
        if self._view is None:
            return 0, 0
        inside = self._grid.tiles_in(*self._view)
        inside = inside[self._tissue.ravel()[inside]]
        return int(settled[inside].sum()), len(inside)
