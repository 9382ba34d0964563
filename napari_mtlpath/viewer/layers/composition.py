"""Composes the picture of a rectangle of one level out of whatever tiles are in memory, coarse ones included."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class TileKey(NamedTuple):
    """One display tile of a slide."""

    level: int
    row: int
    column: int


class Box(NamedTuple):
    """A rectangle in pixels of one level; the ends are not part of it."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True, kw_only=True)
class PyramidShape:
    """Sizes of all levels and of their display tiles.

    Attributes
    ----------
    levels
        (height, width) in pixels, largest first.
    tiles
        (height, width) in pixels of a display tile of each level.
    stored
        Whether the file itself holds the level; the others are computed from finer ones.
    """

    levels: tuple[tuple[int, int], ...]
    tiles: tuple[tuple[int, int], ...]
    stored: tuple[bool, ...]

    @property
    def coarsest(self) -> int:
        """Index of the smallest level."""
        return len(self.levels) - 1

    def keys_in(self, level: int, box: Box) -> Iterator[tuple[TileKey, Box]]:
        """Yield every tile that `box` touches, with the part of the tile inside it."""
        tile_height, tile_width = self.tiles[level]
        for row in range(box.top // tile_height, -(-box.bottom // tile_height)):
            top, bottom = max(box.top, row * tile_height), min(box.bottom, (row + 1) * tile_height)
            for column in range(box.left // tile_width, -(-box.right // tile_width)):
                left, right = max(box.left, column * tile_width), min(box.right, (column + 1) * tile_width)
                yield TileKey(level, row, column), Box(top, bottom, left, right)

    def origin(self, key: TileKey) -> tuple[int, int]:
        """Return the (y, x) of a tile's first pixel in its level."""
        tile_height, tile_width = self.tiles[key.level]
        return key.row * tile_height, key.column * tile_width

    def ratio(self, level: int, coarser: int) -> tuple[float, float]:
        """Return how many pixels of `level` one pixel of `coarser` covers, as (y, x).

        It is the ratio of the shapes, because napari stretches every level to the extent of level 0.
        """
        (height, width), (small_height, small_width) = self.levels[level], self.levels[coarser]
        return height / small_height, width / small_width


@dataclass(frozen=True, kw_only=True)
class Picture:
    """The composed rectangle and what it lacks.

    Attributes
    ----------
    array
        Pixels [y, x, 3] of uint8, owned by the caller.
    missing
        Tiles of the asked level that were not in memory, so that coarser pixels stand in for them.
    coarsest_used
        The coarsest level that stands in for any of them; the asked level itself where nothing is missing.
    """

    array: NDArray[np.uint8]
    missing: tuple[TileKey, ...]
    coarsest_used: int


class Composition:
    """Pastes tiles of the asked level, and enlarged pieces of coarser ones where a tile is not in memory.

    Pixel ``i`` of a level shows pixel ``floor((i + 1/2) / r)`` of a level that is coarser by ``r``: the areas agree,
    so a coarse piece lies exactly where the sharp one will be.

    Parameters
    ----------
    shape
        Sizes of the pyramid.
    lookup
        Gives a tile [y, x, 3] from memory, or None; must not block.
    overview
        The whole coarsest level [y, x, 3]; always there, so nothing is ever black.
    """

    def __init__(
        self,
        shape: PyramidShape,
        *,
        lookup: Callable[[TileKey], NDArray[np.uint8] | None],
        overview: NDArray[np.uint8],
    ) -> None:
        self.shape = shape
        self._lookup = lookup
        self._overview = overview

    def compose(self, level: int, box: Box) -> Picture:
        """Return the picture of `box` of `level` at once, from memory only."""
        if level == self.shape.coarsest:
            whole = self._overview[box.top : box.bottom, box.left : box.right].copy()
            return Picture(array=whole, missing=(), coarsest_used=level)
        array = np.empty((box.bottom - box.top, box.right - box.left, 3), np.uint8)
        missing = []
        used = level
        for key, part in self.shape.keys_in(level, box):
            target = array[part.top - box.top : part.bottom - box.top, part.left - box.left : part.right - box.left]
            tile = self._lookup(key)
            if tile is None:
                missing.append(key)
                used = max(used, self._fill(target, level, part, source=level + 1))
            else:
                y, x = self.shape.origin(key)
                target[:] = tile[part.top - y : part.bottom - y, part.left - x : part.right - x]
        return Picture(array=array, missing=tuple(missing), coarsest_used=used)

    def _fill(self, target: NDArray[np.uint8], level: int, box: Box, *, source: int) -> int:
        """Fill `target`, which shows `box` of `level`, from level `source` or coarser; return the coarsest used."""
        ratio = self.shape.ratio(level, source)
        if source == self.shape.coarsest:
            _enlarge(target, self._overview, box, ratio=ratio, origin=(0, 0))
            return source
        height, width = self.shape.levels[source]
        top, bottom = _shrunk(box.top, box.bottom, ratio[0], height)
        left, right = _shrunk(box.left, box.right, ratio[1], width)
        used = source
        for key, piece in self.shape.keys_in(source, Box(top, bottom, left, right)):
            part = Box(
                box.top if piece.top == top else _first_inside(piece.top, ratio[0]),
                box.bottom if piece.bottom == bottom else _first_inside(piece.bottom, ratio[0]),
                box.left if piece.left == left else _first_inside(piece.left, ratio[1]),
                box.right if piece.right == right else _first_inside(piece.right, ratio[1]),
            )
            if part.top >= part.bottom or part.left >= part.right:
                continue
            spot = target[part.top - box.top : part.bottom - box.top, part.left - box.left : part.right - box.left]
            tile = self._lookup(key)
            if tile is None:
                used = max(used, self._fill(spot, level, part, source=source + 1))
            else:
                _enlarge(spot, tile, part, ratio=ratio, origin=self.shape.origin(key))
        return used


def _shrunk(start: int, stop: int, ratio: float, size: int) -> tuple[int, int]:
    """Return the range of coarse pixels that the range of fine pixels shows."""
    first = min(int((start + 0.5) / ratio), size - 1)
    last = min(int((stop - 0.5) / ratio), size - 1)
    return first, last + 1


def _first_inside(coarse: int, ratio: float) -> int:
    """Return the first fine pixel that shows the coarse pixel `coarse`."""
    return int(np.ceil(coarse * ratio - 0.5))


def _enlarge(
    target: NDArray[np.uint8],
    source: NDArray[np.uint8],
    box: Box,
    *,
    ratio: tuple[float, float],
    origin: tuple[int, int],
) -> None:
    """Write the pixels of `source`, which starts at coarse pixel `origin`, enlarged into `target`."""
    rows = _sources(box.top, box.bottom, ratio[0], origin[0], source.shape[0])
    columns = _sources(box.left, box.right, ratio[1], origin[1], source.shape[1])
    # Columns of the few source rows first, then whole rows: 7 to 70 times faster than indexing both at once.
    wide = source[rows[0] : rows[-1] + 1].take(columns, axis=1)
    target[:] = wide.take(rows - rows[0], axis=0)


def _sources(start: int, stop: int, ratio: float, origin: int, size: int) -> NDArray[np.intp]:
    indices = ((np.arange(start, stop) + 0.5) / ratio).astype(np.intp) - origin
    return np.clip(indices, 0, size - 1)
