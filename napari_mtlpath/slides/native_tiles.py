"""Native tiles of an open slide: read once, kept in the shared cache, hatched where they cannot be read."""

import logging
import threading
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.slides.cache import TileCache
from napari_mtlpath.slides.colour import ColourMode, transform_for
from napari_mtlpath.slides.hatch import hatched
from napari_mtlpath.slides.pixels import Pixels
from napari_mtlpath.slides.source import SlideSource, TileUnreadable

logger = logging.getLogger(__name__)


class NativeTiles:
    """Thread-safe access to the tiles that the file stores, at full size or at 1/2, 1/4 and 1/8.

    Parameters
    ----------
    source
        The open file.
    cache, fingerprint, colour
        Where decoded tiles are kept, and what their keys begin with.
    """

    def __init__(self, source: SlideSource, *, cache: TileCache, fingerprint: str, colour: ColourMode) -> None:
        self._source = source
        self._cache = cache
        self._prefix: tuple[Hashable, ...] = (fingerprint, colour.value)
        self._transform = transform_for(colour, source.facts.icc_profile)
        self._levels = source.facts.levels
        self._background = np.array(source.facts.background, np.uint8)
        self._bad: set[tuple[int, int, int]] = set()
        self._lock = threading.Lock()
        self.closed = False

    @property
    def unreadable(self) -> int:
        """Number of different native tiles that could not be read so far."""
        return len(self._bad)

    def key(self, *place: Hashable) -> tuple[Hashable, ...]:
        """Return the cache key of a place in this slide."""
        return (*self._prefix, *place)

    def keep(self, key: tuple[Hashable, ...], array: NDArray[np.uint8]) -> None:
        """Put an array into the cache unless the slide was closed meanwhile."""
        if not self.closed:
            self._cache.put(key, array)
            if self.closed:  # Closed in this very instant: its arrays must not outlive it.
                self._cache.drop(str(self._prefix[0]))

    def read(
        self, stored: int, row: int, column: int, *, denominator: int = 1, keep: bool = False, passing: bool = False
    ) -> Pixels:
        """Return one native tile, cut to the level's edge, without looking into the cache; hatched if unreadable.

        With `passing` this thread's next tile may be written over it: see ``SlideSource.read_passing``.
        """
        place = (stored, row, column)
        decode = self._source.read_passing if passing and not keep else self._source.read_tile
        try:
            array = decode(stored, row, column, denominator=denominator)
        except TileUnreadable as error:
            if not self.closed:
                self._remember_bad(place, error)
            return Pixels(array=hatched(*self._shape(stored, row, column, denominator)), unreadable=1)
        if place in self._bad:  # The storage answers again.
            with self._lock:
                self._bad.discard(place)
        if self._transform is not None:
            array = self._transform(array)
        if keep:
            self.keep(self.key(stored, row, column, denominator), array)
        return Pixels(array=array)

    def cached(self, stored: int, row: int, column: int, denominator: int) -> NDArray[np.uint8] | None:
        """Return a native tile if it is in memory and was read well."""
        kept = self._cache.get(self.key(stored, row, column, denominator))
        return None if (stored, row, column) in self._bad else kept

    def assemble(self, stored: int, denominator: int, box: tuple[int, int, int, int], *, keep: bool | None) -> Pixels:
        """Return a region of a stored level decoded at 1 / denominator.

        Parameters
        ----------
        box
            (y0, x0, y1, x1) in pixels of the reduced level; what lies outside the slide has the background's colour.
        keep
            Whether native tiles go into the cache; None keeps those that stick out of the box, which its neighbours
            will want.
        """
        together = self._together(stored, denominator, box)
        if together is not None:
            return Pixels(array=together)
        level = self._levels[stored]
        high, wide = level.tile_height // denominator, level.tile_width // denominator
        height, width = -(-level.height // denominator), -(-level.width // denominator)
        y0, x0, y1, x1 = box
        out = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
        if y0 < 0 or x0 < 0 or y1 > height or x1 > width:
            out[:] = self._background
        alone = out.shape == (high, wide, 3)
        unreadable = 0
        for row in range(max(0, y0) // high, -(-min(height, y1) // high)):
            for column in range(max(0, x0) // wide, -(-min(width, x1) // wide)):
                top, left = row * high, column * wide
                inside = y0 <= top and x0 <= left and top + high <= y1 and left + wide <= x1
                kept = self.cached(stored, row, column, denominator)
                if kept is None:
                    keeping = not inside if keep is None else keep
                    passing = not (inside and alone)
                    tile = self.read(stored, row, column, denominator=denominator, keep=keeping, passing=passing)
                    unreadable += tile.unreadable
                    kept = tile.array
                if inside and alone:
                    return Pixels(array=kept, unreadable=unreadable)
                paste(out, kept, top - y0, left - x0)
        return Pixels(array=out, unreadable=unreadable)

    def _together(self, stored: int, denominator: int, box: tuple[int, int, int, int]) -> NDArray[np.uint8] | None:
        """Return a region that consists of whole tiles, decoded many at a time; None where that cannot be."""
        level = self._levels[stored]
        high, wide = level.tile_height // denominator, level.tile_width // denominator
        if denominator == 1 or box[0] % high or box[1] % wide or box[2] % high or box[3] % wide:
            return None
        rows, columns = range(box[0] // high, box[2] // high), range(box[1] // wide, box[3] // wide)
        across = min(len(columns), denominator**2)
        down = denominator**2 // max(1, across)
        if len(columns) <= across and len(rows) <= down:
            return self._block(stored, rows, columns, denominator)
        out = np.empty((box[2] - box[0], box[3] - box[1], 3), np.uint8)
        for part in (rows[start : start + down] for start in range(0, len(rows), down)):
            for beside in (columns[start : start + across] for start in range(0, len(columns), across)):
                block = self._block(stored, part, beside, denominator)
                if block is None:
                    return None
                paste(out, block, part.start * high - box[0], beside.start * wide - box[1])
        return out

    def _block(self, stored: int, rows: range, columns: range, denominator: int) -> NDArray[np.uint8] | None:
        if len(rows) * len(columns) < 2:
            return None
        array = self._source.read_block(stored, rows, columns, denominator=denominator)
        if array is not None and self._bad:  # The storage answers again.
            with self._lock:
                self._bad.difference_update((stored, row, column) for row in rows for column in columns)
        return array if array is None or self._transform is None else self._transform(array)

    def _remember_bad(self, place: tuple[int, int, int], error: TileUnreadable) -> None:
        with self._lock:
            first = place not in self._bad
            self._bad.add(place)
        if first:
            logger.warning("Level %d, tile row %d, column %d cannot be read: %s", *place, error)

    def _shape(self, stored: int, row: int, column: int, denominator: int) -> tuple[int, int]:
        level = self._levels[stored]
        height = min(level.tile_height, level.height - row * level.tile_height)
        width = min(level.tile_width, level.width - column * level.tile_width)
        return -(-height // denominator), -(-width // denominator)


def paste(out: NDArray[np.uint8], tile: NDArray[np.uint8], top: int, left: int) -> None:
    """Copy `tile` into `out` with its corner at (top, left); what sticks out is cut."""
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = min(out.shape[0], top + tile.shape[0]), min(out.shape[1], left + tile.shape[1])
    if y0 < y1 and x0 < x1:
        out[y0:y1, x0:x1] = tile[y0 - top : y1 - top, x0 - left : x1 - left]
