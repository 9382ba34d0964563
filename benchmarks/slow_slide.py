"""A slide whose every tile takes the same time to read, whatever the machine: for scheduling, not for decoding."""

import threading
import time

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.slides.cache import TileCache
from napari_mtlpath.slides.pixels import Pixels
from napari_mtlpath.slides.pyramid import LevelInfo
from napari_mtlpath.slides.resolution import Resolution, ResolutionSource

TILE = 512


class SlowSlide:
    """Looks to the display like an open slide with levels of factor 2, all stored, and counts what is read."""

    def __init__(self, *, side: int = 32768, levels: int = 6, seconds_per_tile: float = 0.06, mpp: float = 0.5) -> None:
        self.name = "slow"
        self.fingerprint = f"slow-{id(self)}"
        self.height = self.width = side
        self.levels = tuple(
            LevelInfo(height=side >> i, width=side >> i, downsample=(2.0**i, 2.0**i), stored=True)
            for i in range(levels)
        )
        self.resolution = Resolution(mpp=(mpp, mpp), source=ResolutionSource.FILE, detail="made up")
        self.cache = TileCache(max_bytes=512 * 2**20)
        self.reads: list[tuple[int, int, int]] = []
        self.closed = False
        self._seconds = seconds_per_tile
        self._lock = threading.Lock()

    def tile_shape(self, level: int) -> tuple[int, int]:
        return TILE, TILE

    def cached_tile(self, level: int, row: int, column: int) -> NDArray[np.uint8] | None:
        return self.cache.get((self.fingerprint, level, row, column))

    def load_tile(self, level: int, row: int, column: int) -> Pixels:
        time.sleep(self._seconds)
        with self._lock:
            self.reads.append((level, row, column))
        array = self.paint(level, row, column)
        self.cache.put((self.fingerprint, level, row, column), array)
        return Pixels(array=array)

    def paint(self, level: int, row: int, column: int) -> NDArray[np.uint8]:
        """Return a tile: fine stripes that only the asked level shows sharply, on colours that name the place."""
        info = self.levels[level]
        y = np.arange(row * TILE, min((row + 1) * TILE, info.height)) << level
        x = np.arange(column * TILE, min((column + 1) * TILE, info.width)) << level
        red = 70 + (y[:, None] // 64) % 128 + 0 * x
        green = 70 + (x[None] // 64) % 128 + 0 * y[:, None]
        return np.stack([red, green, np.full(red.shape, 120)], axis=-1).astype(np.uint8)

    def changed_on_disk(self) -> None:
        return None

    def close(self) -> None:
        self.closed = True
