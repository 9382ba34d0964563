"""One plane of a pixel model's answers over a whole slide, band by band: what masks and contours are made from."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.pixels.maps import PixelMaps

NOT_ANALYSED = 255
"""In masks: no class. In bytes of other planes it is the highest value, which is why :class:`MaskBands` says both."""


class MaskBands:
    """Reads a plane at one level, from top to bottom, without ever holding all of it.

    Parameters
    ----------
    maps
        The answers.
    plane
        Which plane of the blended cores.
    level
        How many times it is halved, 0 to 4.
    """

    def __init__(self, maps: PixelMaps, plane: int, *, level: int = 0) -> None:
        self._maps = maps
        self._plane = plane
        self._level = level
        self._side = maps.lattice.core_px >> level

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels: those on the slide, at least one."""
        height, width = self._maps.lattice.on_slide
        return max(1, height >> self._level), max(1, width >> self._level)

    def band(self, top: int, bottom: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return the pixels [y, x] of some rows, and which of them are analysed."""
        lattice, side = self._maps.lattice, self._side
        columns = lattice.grid.columns
        pixels = np.zeros((bottom - top, columns * side), np.uint8)
        known = np.zeros(pixels.shape, np.bool_)
        for row in range(top // side, min(lattice.grid.rows, -(-bottom // side))):
            first, last = max(top, row * side), min(bottom, (row + 1) * side)
            for column in np.flatnonzero(self._maps.known[row]).tolist():
                core = self._maps.blended(row * columns + column, self._level)
                if core is not None:
                    place = slice(first - top, last - top), slice(column * side, (column + 1) * side)
                    pixels[place] = core[self._plane, first - row * side : last - row * side]
                    known[place] = True
        width = self.shape[1]
        return pixels[:, :width], known[:, :width]

    def bands(self, height: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
        """Yield all bands of so many rows, the last one perhaps lower."""
        for top in range(0, self.shape[0], height):
            yield self.band(top, min(top + height, self.shape[0]))

    def labels(self) -> NDArray[np.uint8]:
        """Return the whole plane [y, x], :data:`NOT_ANALYSED` where nothing is known."""
        bands = [np.where(known, pixels, np.uint8(NOT_ANALYSED)) for pixels, known in self.bands(self._side)]
        return np.concatenate(bands)
