"""An open slide: its levels, its tiles and what is known about it."""

import os
import time
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.slides.cache import TileCache
from napari_mtlpath.slides.colour import ColourMode
from napari_mtlpath.slides.level_array import LevelArray
from napari_mtlpath.slides.native_tiles import NativeTiles, paste
from napari_mtlpath.slides.pixels import Pixels as Pixels
from napari_mtlpath.slides.pyramid import LevelInfo as LevelInfo
from napari_mtlpath.slides.pyramid import Rung, plan_pyramid
from napari_mtlpath.slides.resample import resize, shrink
from napari_mtlpath.slides.resampling import Resampling
from napari_mtlpath.slides.resolution import Resolution
from napari_mtlpath.slides.source import SlideSource, SourceFacts
from napari_mtlpath.slides.square import SquareReader
from napari_mtlpath.slides.watch import FileWatch

if TYPE_CHECKING:
    import dask.array

RETRY_SECONDS = 10.0
"""A tile that could not be read is tried again after this time: storage may come back."""

DASK_CHUNK_PX = 2048


class Slide:
    """A whole-slide image, read tile by tile; all methods may be called from any thread.

    Made by :func:`napari_mtlpath.slides.open.open_slide`.

    Parameters
    ----------
    path, fingerprint
        The file and the digest that identifies it.
    source
        The file as a reader opened it.
    resolution
        Microns per level-0 pixel, possibly unknown.
    cache
        Where decoded tiles are kept; may be shared by many slides.
    colour
        Whether an ICC profile is applied.
    watch
        The file's state at opening.

    Notes
    -----
    A slide belongs to the process that opened it: pass its path to other processes, and open it there.
    """

    def __init__(
        self,
        path: Path,
        source: SlideSource,
        *,
        fingerprint: str,
        resolution: Resolution,
        cache: TileCache,
        colour: ColourMode,
        watch: FileWatch,
    ) -> None:
        self.path = path
        self.name = path.name
        self.fingerprint = fingerprint
        self.facts: SourceFacts = source.facts
        self.cache = cache
        self.colour = colour
        self._source = source
        self._resolution = resolution
        self._rungs: tuple[Rung, ...] = plan_pyramid(source.facts.levels)
        self.levels: tuple[LevelInfo, ...] = tuple(rung.info for rung in self._rungs)
        self.height, self.width = self.levels[0].height, self.levels[0].width
        self._tiles = NativeTiles(source, cache=cache, fingerprint=fingerprint, colour=colour)
        self._squares = SquareReader(self._tiles, source.facts.levels)
        self._flawed: dict[tuple[Hashable, ...], tuple[int, float]] = {}
        self._watch = watch
        self._process = os.getpid()

    @property
    def resolution(self) -> Resolution:
        """Microns per level-0 pixel and where the number came from."""
        return self._resolution

    def with_resolution(self, resolution: Resolution) -> None:
        """Take another resolution, such as one that a user typed."""
        self._resolution = resolution

    @property
    def unreadable_tiles(self) -> int:
        """Number of different native tiles that could not be read so far."""
        return self._tiles.unreadable

    @property
    def closed(self) -> bool:
        """Whether the slide was closed."""
        return self._tiles.closed

    def tile_shape(self, level: int) -> tuple[int, int]:
        """Return height and width of a level's display tiles; those at the right and lower edge may be cut."""
        return self._rungs[level].tile

    def cached_tile(self, level: int, row: int, column: int) -> NDArray[np.uint8] | None:
        """Return a display tile if it is in memory, else None; never reads."""
        return self.cache.get(self._key(level, row, column))

    def load_tile(self, level: int, row: int, column: int) -> Pixels:
        """Return a display tile, reading or computing it where needed, and keep it in the cache; never raises.

        Raises
        ------
        IndexError
            If the level has no such tile.
        """
        self._check_process()
        rows, columns = self._rungs[level].rows_columns
        if not (0 <= row < rows and 0 <= column < columns):
            raise IndexError(f"Level {level} has {rows} x {columns} tiles; there is no tile {row}, {column}.")
        return self._tile(level, row, column)

    def _tile(self, level: int, row: int, column: int) -> Pixels:
        key = self._key(level, row, column)
        flaw = self._flawed.get(key)
        fresh = flaw is None or time.monotonic() - flaw[1] < RETRY_SECONDS
        kept = self.cache.get(key) if fresh else None
        if kept is not None:
            return Pixels(array=kept, unreadable=flaw[0] if flaw else 0)
        pixels = self._compute(self._rungs[level], level, row, column)
        if pixels.complete:
            self._flawed.pop(key, None)
        else:
            self._flawed[key] = pixels.unreadable, time.monotonic()
        self._tiles.keep(key, pixels.array)
        return pixels

    def read_region(self, y: int, x: int, height: int, width: int, *, level: int = 0) -> Pixels:
        """Read a rectangle of a level.

        Parameters
        ----------
        y, x, height, width
            In pixels of `level`. Parts outside the slide have the background's colour.
        level
            Index into `levels`.

        Returns
        -------
        The pixels; tiles that cannot be read are hatched and counted.

        Raises
        ------
        ValueError
            If the size is negative.
        """
        self._check_process()
        if height < 0 or width < 0:
            raise ValueError(f"A region needs a height and width of at least 0; found {height} x {width}.")
        rung = self._rungs[level]
        if rung.factor == 1 and not self.cache.keeps(rung.tile[0] * rung.tile[1] * 3):
            return self._tiles.assemble(rung.base, 1, (y, x, y + height, x + width), keep=False)
        out = np.empty((height, width, 3), np.uint8)
        if y < 0 or x < 0 or y + height > rung.info.height or x + width > rung.info.width:
            out[:] = np.array(self.facts.background, np.uint8)
        (high, wide), unreadable = rung.tile, 0
        for row in range(max(0, y) // high, -(-min(rung.info.height, y + height) // high)):
            for column in range(max(0, x) // wide, -(-min(rung.info.width, x + width) // wide)):
                alone = (row * high, column * wide, high, wide) == (y, x, height, width)
                tile = self._tile(level, row, column)
                if alone and tile.array.shape == out.shape:
                    return tile
                unreadable += tile.unreadable
                paste(out, tile.array, row * high - y, column * wide - x)
        return Pixels(array=out, unreadable=unreadable)

    def read_square(self, y: float, x: float, side: float, *, tile_px: int, resampling: Resampling) -> Pixels:
        """Read a square of the slide as a model receives it.

        Parameters
        ----------
        y, x
            Upper left corner in level-0 pixels.
        side
            Side in level-0 pixels; it and the corner may be fractional.
        tile_px
            Side of the result in pixels.
        resampling
            See :class:`~napari_mtlpath.slides.resampling.Resampling`.

        Returns
        -------
        [tile_px, tile_px, 3]; not complete where a native tile could not be read, and then not for a model.
        """
        self._check_process()
        return self._squares.read(y, x, side, tile_px=tile_px, resampling=resampling)

    def to_dask(self, level: int) -> "dask.array.Array":
        """Return a level as a lazy array [y, x, 3] of uint8; computing it reads real pixels.

        For scanning a slide `read_square` is many times faster: slicing a dask array costs by its number of chunks.
        """
        import dask.array  # half a second and 25 MB that no analysis needs

        rung = self._rungs[level]
        chunks = tuple(tile * max(1, round(DASK_CHUNK_PX / tile)) for tile in rung.tile)
        return dask.array.from_array(
            LevelArray(self, level),
            chunks=(*chunks, 3),
            name=f"slide-{self.fingerprint}-{self.colour.value}-{level}",
            lock=False,
            asarray=False,
            meta=np.empty((0, 0, 0), np.uint8),
        )

    def thumbnail(self, max_side: int = 1024) -> NDArray[np.uint8]:
        """Return the whole slide, [y, x, 3], at most `max_side` px long; slides smaller than that are not enlarged."""
        level = max(i for i, info in enumerate(self.levels) if i == 0 or max(info.height, info.width) >= max_side)
        info = self.levels[level]
        pixels = self.read_region(0, 0, info.height, info.width, level=level).array
        ratio = max(info.height, info.width) / max_side
        if ratio <= 1:
            return pixels
        height, width = (max(1, round(side / ratio)) for side in (info.height, info.width))
        return resize(pixels, box=(0.0, 0.0, float(info.height), float(info.width)), height=height, width=width)

    def associated(self, name: str) -> NDArray[np.uint8]:
        """Decode an associated image such as the label, [y, x, 3]. It may show names: ask before showing it.

        Raises
        ------
        KeyError
            If there is no such image.
        TileUnreadable
            If it does not decode.
        """
        return self._source.read_associated(name)

    def changed_on_disk(self) -> str | None:
        """Return a sentence if the file is no longer what was opened, else None."""
        return self._watch.change()

    def close(self) -> None:
        """Let the file and the cached tiles go. Closing twice is harmless; reads in flight end safely."""
        self._tiles.closed = True
        self._source.close()
        self.cache.drop(self.fingerprint)
        self._flawed.clear()

    def _key(self, level: int, row: int, column: int) -> tuple[Hashable, ...]:
        rung = self._rungs[level]
        if rung.factor == 1:
            return self._tiles.key(rung.base, row, column, 1)
        return self._tiles.key("level", level, row, column)

    def _compute(self, rung: Rung, level: int, row: int, column: int) -> Pixels:
        if rung.factor == 1:
            return self._tiles.read(rung.base, row, column)
        y0, x0 = row * rung.tile[0], column * rung.tile[1]
        y1, x1 = min(y0 + rung.tile[0], rung.info.height), min(x0 + rung.tile[1], rung.info.width)
        if rung.direct:
            return self._tiles.assemble(rung.base, rung.factor, (y0, x0, y1, x1), keep=False)
        finer = self.levels[level - 1]
        height, width = min(2 * y1, finer.height) - 2 * y0, min(2 * x1, finer.width) - 2 * x0
        pixels = self.read_region(2 * y0, 2 * x0, height, width, level=level - 1)
        return Pixels(array=shrink(pixels.array, 2), unreadable=pixels.unreadable)

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError(f"The slide {self.name!r} was opened in another process. Open it anew in each process.")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"The slide {self.name!r} cannot be sent to another process. Send its path and open it there.")
