"""Composes the picture of a rectangle of a pixel model's answers out of what is in memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.pixels.lattice import HALVINGS
from napari_mtlpath.inference.pixels.maps import PixelMaps
from napari_mtlpath.viewer.layers.composition import Box

UNKNOWN = 256
"""The code of what is not analysed: nothing is painted there."""

LINE = 2
"""How many pixels wide contours are, but 1 at level 0: a pixel of the screen may show every other pixel of a level."""

LARGEST_TOP = 1024
"""The coarsest level is at most so many pixels long: napari reads it as a whole."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelLook:
    """How answers are painted.

    Attributes
    ----------
    maps
        The answers.
    plane
        Which plane of their blended cores.
    table
        RGBA [256, 4] by byte.
    contours
        Whether only the rims of equal bytes are painted.
    """

    maps: PixelMaps
    plane: int
    table: NDArray[np.uint8]
    contours: bool = False


class PixelPicture:
    """A pyramid of RGBA pictures, see-through where nothing is analysed.

    Level 0 has the lattice's pixels; every further level half as many along each side. Where memory has let go of a
    core, its overview is painted, and the core is asked for.

    Parameters
    ----------
    look
        What is painted, and how; may be replaced at any time by that of other answers on the same lattice.
    """

    def __init__(self, look: PixelLook) -> None:
        self.look = look
        lattice = look.maps.lattice
        small = lattice.core_px >> HALVINGS
        rows, columns = lattice.grid.shape
        further = 0
        while max(rows, columns) * small >> further > LARGEST_TOP:
            further += 1
        # Cores are added that nothing fills, so that all levels have whole pixels and lie exactly upon each other.
        step = 2**further
        height, width = (-(-count // step) * step * lattice.core_px for count in (rows, columns))
        self.levels = [(height >> level, width >> level) for level in range(HALVINGS + further + 1)]

    def compose(self, level: int, box: Box) -> NDArray[np.uint8]:
        """Return RGBA [y, x, 4] of a rectangle of a level at once, from memory only."""
        look = self.look
        line = LINE if level else 1
        halo = line if look.contours else 0
        height, width = self.levels[level]
        wide = Box(
            max(0, box.top - halo),
            min(height, box.bottom + halo),
            max(0, box.left - halo),
            min(width, box.right + halo),
        )
        codes = _codes(look, level, wide)
        # The last cores reach beyond the slide, where there is nothing to answer for.
        bottom, right = (-(-pixels // 2**level) for pixels in look.maps.lattice.on_slide)
        codes[max(0, bottom - wide.top) :] = UNKNOWN
        codes[:, max(0, right - wide.left) :] = UNKNOWN
        if look.contours:
            codes = _rims(codes, line)
        codes = codes[box.top - wide.top :, box.left - wide.left :][: box.bottom - box.top, : box.right - box.left]
        table = np.concatenate([look.table, np.zeros((1, 4), np.uint8)]).view(np.uint32)[:, 0]
        return np.ascontiguousarray(table[codes]).view(np.uint8).reshape(*codes.shape, 4)


def _codes(look: PixelLook, level: int, box: Box) -> NDArray[np.uint16]:
    maps = look.maps
    codes = np.full((box.bottom - box.top, box.right - box.left), UNKNOWN, np.uint16)
    if level >= HALVINGS:
        _fill_from_overview(codes, look, level, box)
        return codes
    side = maps.lattice.core_px >> level
    rows, columns = maps.lattice.grid.shape
    missing = []
    for row in range(box.top // side, min(rows, -(-box.bottom // side))):
        for column in range(box.left // side, min(columns, -(-box.right // side))):
            if not maps.known[row, column]:
                continue
            index = row * columns + column
            core = maps.core(index, level)
            if core is None:
                missing.append(index)
            shown = core[look.plane] if core is not None else _stand_in(look, row, column, level)
            top, left = row * side, column * side
            part = Box(max(box.top, top), min(box.bottom, top + side), max(box.left, left), min(box.right, left + side))
            codes[part.top - box.top : part.bottom - box.top, part.left - box.left : part.right - box.left] = shown[
                part.top - top : part.bottom - top, part.left - left : part.right - left
            ]
    if missing:
        maps.want(missing)
    return codes


def _stand_in(look: PixelLook, row: int, column: int, level: int) -> NDArray[np.uint8]:
    maps = look.maps
    small = maps.lattice.core_px >> HALVINGS
    part = maps.overview[look.plane, row * small : (row + 1) * small, column * small : (column + 1) * small]
    times = 2 ** (HALVINGS - level)
    return part.repeat(times, axis=0).repeat(times, axis=1)


def _fill_from_overview(codes: NDArray[np.uint16], look: PixelLook, level: int, box: Box) -> None:
    maps = look.maps
    small = maps.lattice.core_px >> HALVINGS
    every = 2 ** (level - HALVINGS)
    overview = maps.overview[look.plane]
    rows = np.arange(box.top, box.bottom) * every + every // 2
    columns = np.arange(box.left, box.right) * every + every // 2
    rows, columns = rows[rows < overview.shape[0]], columns[columns < overview.shape[1]]
    known = maps.known[np.ix_(rows // small, columns // small)]
    shown = overview[np.ix_(rows, columns)]
    codes[: len(rows), : len(columns)] = np.where(known, shown, np.uint16(UNKNOWN))


def _rims(codes: NDArray[np.uint16], line: int) -> NDArray[np.uint16]:
    """Keep the codes along the inside of the rims of equal codes; the rim of what is analysed is none."""
    rim = np.zeros(codes.shape, np.bool_)
    for axis in (0, 1):
        for far in range(1, line + 1):
            count = codes.shape[axis]
            if far >= count:
                continue
            first, second = (_along(axis, 0, count - far), _along(axis, far, count))
            differ = (codes[first] != codes[second]) & (codes[first] < UNKNOWN) & (codes[second] < UNKNOWN)
            rim[first] |= differ
            rim[second] |= differ
    return np.where(rim, codes, np.uint16(UNKNOWN))


def _along(axis: int, start: int, stop: int) -> tuple[slice, slice]:
    whole = slice(None)
    return (slice(start, stop), whole) if axis == 0 else (whole, slice(start, stop))
