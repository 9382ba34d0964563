"""A locked memory of decoded tiles, bounded in bytes, shared by everything that reads slides."""

import threading
from collections import OrderedDict
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray


class TileCache:
    """Keep the most recently used arrays up to a number of bytes.

    Parameters
    ----------
    max_bytes
        Upper bound of the arrays' bytes. An array larger than a quarter of it is not kept.

    Examples
    --------
    >>> cache = TileCache(max_bytes=1000)
    >>> cache.put(("slide", 0, 0), np.zeros(100, np.uint8))
    >>> cache.get(("slide", 0, 0)).shape, cache.get(("slide", 0, 1)), cache.nbytes
    ((100,), None, 100)
    """

    def __init__(self, *, max_bytes: int = 512 * 2**20) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_bytes must not be negative; found {max_bytes}.")
        self.max_bytes = max_bytes
        self.nbytes = 0
        self.hits = 0
        self.misses = 0
        self._arrays: OrderedDict[tuple[Hashable, ...], NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[Hashable, ...]) -> NDArray[np.uint8] | None:
        """Return the array kept under `key`, or None."""
        with self._lock:
            array = self._arrays.get(key)
            if array is None:
                self.misses += 1
                return None
            self.hits += 1
            self._arrays.move_to_end(key)
            return array

    def put(self, key: tuple[Hashable, ...], array: NDArray[np.uint8]) -> None:
        """Keep `array` under `key` and forget the least recently used ones beyond the bound.

        The array is made read-only, because everybody shares it.
        """
        if not self.keeps(array.nbytes):
            return
        if array.base is not None:
            array = array.copy()  # A view would keep its whole parent alive, uncounted.
        array.flags.writeable = False
        with self._lock:
            former = self._arrays.pop(key, None)
            if former is not None:
                self.nbytes -= former.nbytes
            self._arrays[key] = array
            self.nbytes += array.nbytes
            while self.nbytes > self.max_bytes:
                _, oldest = self._arrays.popitem(last=False)
                self.nbytes -= oldest.nbytes

    def keeps(self, nbytes: int) -> bool:
        """Whether an array of that many bytes is kept at all."""
        return nbytes <= self.max_bytes // 4

    def drop(self, fingerprint: str) -> None:
        """Forget all arrays whose key begins with `fingerprint`."""
        with self._lock:
            for key in [key for key in self._arrays if key[0] == fingerprint]:
                self.nbytes -= self._arrays.pop(key).nbytes

    def __len__(self) -> int:
        with self._lock:
            return len(self._arrays)
