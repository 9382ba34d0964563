"""Answers of pixel models that were left, kept for when one comes back to them."""

import threading
from collections import OrderedDict
from typing import TypeAlias

from napari_mtlpath.inference.pixels.lattice import Lattice
from napari_mtlpath.inference.pixels.plan import PixelPlan
from napari_mtlpath.inference.pixels.slide_maps import SlideMaps

MOST_KEPT = 4
"""Pairs of slide and model: as many as one compares."""

MOST_BYTES = 4 * 2**30
"""Of windows on disk, all kept answers together."""

_Key: TypeAlias = tuple[str, Lattice]


class MapsShelf:
    """Keeps the answers of analyses that have ended, on disk but for their overview, by slide, model and settings.

    Of more than :data:`MOST_KEPT`, or of more bytes than :data:`MOST_BYTES`, those left longest ago go. Thread-safe.

    Parameters
    ----------
    most, most_bytes
        These bounds.
    """

    def __init__(self, *, most: int = MOST_KEPT, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, tuple[str, SlideMaps]] = OrderedDict()
        self._closed = False

    def put(self, plan: PixelPlan, maps: SlideMaps, *, slide: str) -> None:
        """Keep the answers to a plan for a slide, named by its fingerprint; they use no memory meanwhile."""
        maps.rest()
        with self._lock:
            former = self._kept.pop((plan.key, plan.lattice), None)
            self._kept[plan.key, plan.lattice] = (slide, maps)
            gone = [former[1]] if former is not None else []
            while self._kept and (self._closed or self._beyond()):
                gone.append(self._kept.popitem(last=False)[1][1])
        for each in gone:
            each.close()

    def take(self, plan: PixelPlan) -> SlideMaps | None:
        """Return the answers to a plan, which the caller closes or puts back; None where none are kept."""
        with self._lock:
            _, maps = self._kept.pop((plan.key, plan.lattice), ("", None))
        if maps is not None:
            maps.wake()
        return maps

    def drop(self, slide: str) -> None:
        """Let go of all answers for a slide, named by its fingerprint."""
        with self._lock:
            keys = [key for key, (whose, _) in self._kept.items() if whose == slide]
            gone = [self._kept.pop(key)[1] for key in keys]
        for each in gone:
            each.close()

    def close(self) -> None:
        """Let go of everything, also of what is put here later."""
        with self._lock:
            self._closed = True
            gone = [maps for _, maps in self._kept.values()]
            self._kept.clear()
        for each in gone:
            each.close()

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept)

    def _beyond(self) -> bool:
        held = sum(maps.bytes_on_disk for _, maps in self._kept.values())
        return len(self._kept) > self._most or held > self._most_bytes
