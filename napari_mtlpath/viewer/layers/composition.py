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
        missing, gaps = [], []
        for key, part in self.shape.keys_in(level, box):
            tile = self._lookup(key)
            if tile is None:
                missing.append(key)
                gaps.append(part)
            else:
                y, x = self.shape.origin(key)
                _cut(array, box, part)[:] = tile[part.top - y : part.bottom - y, part.left - x : part.right - x]
        used = self._fill_gaps(array, level, box, gaps, source=level + 1)
        return Picture(array=array, missing=tuple(missing), coarsest_used=used)

    def _fill_gaps(self, target: NDArray[np.uint8], level: int, box: Box, gaps: list[Box], *, source: int) -> int:
        """Fill the `gaps` in `target`, which shows `box` of `level`; return the coarsest level used."""
        used = [self._fill(_cut(target, box, gap), level, gap, source=source) for gap in _joined(gaps)]
        return max(used, default=level)

    def _fill(self, target: NDArray[np.uint8], level: int, box: Box, *, source: int) -> int:
        """Fill `target`, which shows `box` of `level`, from level `source` or coarser; return the coarsest used."""
        ratio = self.shape.ratio(level, source)
        if source == self.shape.coarsest:
            _enlarge(target, self._overview, box, ratio=ratio, origin=(0, 0))
            return source
        height, width = self.shape.levels[source]
        top, bottom = _shrunk(box.top, box.bottom, ratio[0], height)
        left, right = _shrunk(box.left, box.right, ratio[1], width)
        gaps = []
        for key, piece in self.shape.keys_in(source, Box(top, bottom, left, right)):
            part = Box(
                box.top if piece.top == top else _first_inside(piece.top, ratio[0]),
                box.bottom if piece.bottom == bottom else _first_inside(piece.bottom, ratio[0]),
                box.left if piece.left == left else _first_inside(piece.left, ratio[1]),
                box.right if piece.right == right else _first_inside(piece.right, ratio[1]),
            )
            if part.top >= part.bottom or part.left >= part.right:
                continue
            tile = self._lookup(key)
            if tile is None:
                gaps.append(part)
            else:
                _enlarge(_cut(target, box, part), tile, part, ratio=ratio, origin=self.shape.origin(key))
        return max(source, self._fill_gaps(target, level, box, gaps, source=source + 1))


def _cut(array: NDArray[np.uint8], box: Box, part: Box) -> NDArray[np.uint8]:
    """Return the view of `array`, which shows `box`, that shows `part` of it."""
    return array[part.top - box.top : part.bottom - box.top, part.left - box.left : part.right - box.left]


def _joined(parts: list[Box]) -> list[Box]:
    """Return as few rectangles that cover what `parts` cover, which come row by row: each costs its own call.

    Examples
    --------
    >>> _joined([Box(0, 2, 0, 2), Box(0, 2, 2, 4), Box(2, 3, 0, 2), Box(2, 3, 2, 4), Box(3, 4, 2, 4)])
    [Box(top=0, bottom=3, left=0, right=4), Box(top=3, bottom=4, left=2, right=4)]
    """
    rows: list[Box] = []
    for part in parts:
        last = rows[-1] if rows else None
        if last is not None and (last.top, last.bottom, last.right) == (part.top, part.bottom, part.left):
            rows[-1] = last._replace(right=part.right)
        else:
            rows.append(part)
    joined: dict[tuple[int, int, int], Box] = {}
    for row in rows:
        above = joined.pop((row.left, row.right, row.top), row)
        joined[row.left, row.right, row.bottom] = above._replace(bottom=row.bottom)
    return list(joined.values())


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
    # All indices are valid; "clip" says so to numpy, which then writes without a copy in between.
    np.take(wide, rows - rows[0], axis=0, out=target, mode="clip")


def _sources(start: int, stop: int, ratio: float, origin: int, size: int) -> NDArray[np.intp]:
    indices = ((np.arange(start, stop) + 0.5) / ratio).astype(np.intp) - origin
    return np.clip(indices, 0, size - 1)
