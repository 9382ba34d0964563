"""The embeddings known so far, in memory, filled in any order and read in ascending order."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class Bag:
    """Embeddings and unreadable tiles among the tissue tiles of one slide.

    One thread alone writes and reads embeddings; which tiles count as known is noted apart, under the caller's lock.

    Parameters
    ----------
    tiles
        Number of tiles of the grid.
    tissue
        Tissue tiles, ascending.
    """

    def __init__(self, tiles: int, tissue: NDArray[np.integer]) -> None:
        self._tissue = np.asarray(tissue, dtype=np.int64)
        self._known = np.zeros(tiles, dtype=np.bool_)
        self._unreadable = np.zeros(tiles, dtype=np.bool_)
        self._row_of = np.full(tiles, -1, dtype=np.int64)
        self._row_of[self._tissue] = np.arange(len(self._tissue))
        self._features = np.empty((0, 0), dtype=np.float32)

    @property
    def settled(self) -> NDArray[np.bool_]:
        """Tiles that need no more work, [tile]: known or unreadable."""
        return self._known | self._unreadable

    @property
    def known(self) -> int:
        """Number of tiles with an embedding."""
        return int(self._known.sum())

    @property
    def unreadable(self) -> int:
        """Number of tiles that could not be read."""
        return int(self._unreadable.sum())

    @property
    def complete(self) -> bool:
        """Whether no tissue tile is left."""
        return self.known + self.unreadable == len(self._tissue)

    def write(self, indices: NDArray[np.integer], features: NDArray[np.float32]) -> None:
        """Take embeddings [n, feature] of tissue tiles; others are left out. They count after :meth:`mark_known`."""
        rows = self._row_of[indices]
        inside = rows >= 0
        if not inside.any():
            return
        if self._features.shape[1] != features.shape[1]:
            # The system gives pages only when they are written: a large slide costs what is known of it.
            self._features = np.empty((len(self._tissue), features.shape[1]), dtype=np.float32)
        self._features[rows[inside]] = features[inside]

    def mark_known(self, indices: NDArray[np.integer]) -> None:
        """Count tissue tiles as known; their embeddings must have been written."""
        inside = indices[self._row_of[indices] >= 0]
        self._known[inside] = True
        self._unreadable[inside] = False

    def mark_unreadable(self, indices: Iterable[int]) -> None:
        """Leave tiles out for good."""
        for index in indices:
            if self._row_of[index] >= 0 and not self._known[index]:
                self._unreadable[index] = True

    def contents(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the known tiles, ascending, and a copy of their embeddings [n, feature]."""
        indices = np.flatnonzero(self._known)
        return indices.astype(np.int64), self._features[self._row_of[indices]]
