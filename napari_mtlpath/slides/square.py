"""Reading squares of a slide as models receive them."""

import itertools
import math
from collections.abc import Sequence
from typing import assert_never

import numpy as np

from napari_mtlpath.slides.native_tiles import NativeTiles
from napari_mtlpath.slides.pixels import Pixels
from napari_mtlpath.slides.pyramid import SCALED_FACTORS
from napari_mtlpath.slides.resample import resize
from napari_mtlpath.slides.resampling import Resampling
from napari_mtlpath.slides.source import StoredLevel

BLOCK_PX = 4096
"""A larger square is resampled in parts, so that memory stays bounded whatever is asked for."""

TOLERANCE = 1.01
"""A stored level may fall short of the wanted pixels by this factor: scanners round the sizes of their levels."""


class SquareReader:
    """Reads squares from native tiles, each at the cheapest reduction that still has enough pixels.

    Parameters
    ----------
    tiles
        The slide's native tiles.
    levels
        Its stored levels, finest first.
    """

    def __init__(self, tiles: NativeTiles, levels: Sequence[StoredLevel]) -> None:
        self._tiles = tiles
        self._levels = levels

    def read(self, y: float, x: float, side: float, *, tile_px: int, resampling: Resampling) -> Pixels:
        """Return [tile_px, tile_px, 3]; see ``Slide.read_square``."""
        if not (side > 0 and math.isfinite(side) and math.isfinite(y) and math.isfinite(x)) or tile_px < 1:
            raise ValueError(f"A square needs a finite corner and positive sides; found {y}, {x}, {side}, {tile_px}.")
        stored, denominator = self._choose(side / tile_px, resampling)
        down = self._levels[stored].downsample
        box = tuple(value / (down[i % 2] * denominator) for i, value in enumerate((y, x, y + side, x + side)))
        parts = max(1, math.ceil(max(box[2] - box[0], box[3] - box[1]) / BLOCK_PX))
        parts = min(parts, tile_px)
        if parts == 1:
            return self._resampled(stored, denominator, box, tile_px, tile_px)
        return self._in_parts(stored, denominator, box, tile_px, parts)

    def _choose(self, scale: float, resampling: Resampling) -> tuple[int, int]:
        """Return the stored level and the reduction to decode it at, for `scale` level-0 pixels per pixel."""
        match resampling:
            case Resampling.AREA:
                return 0, 1
            case Resampling.STORED:
                fitting = [i for i, level in enumerate(self._levels) if max(level.downsample) <= scale * TOLERANCE]
                return max(fitting, default=0), 1
            case Resampling.SCALED:
                level = self._levels[0]
                fitting = [
                    d for d in SCALED_FACTORS if d <= scale and level.tile_height % d == 0 and level.tile_width % d == 0
                ]
                return 0, max(fitting, default=1)
            case _:
                assert_never(resampling)

    def _resampled(self, stored: int, denominator: int, box: tuple[float, ...], height: int, width: int) -> Pixels:
        whole = math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])
        pixels = self._tiles.assemble(stored, denominator, whole, keep=None)
        inner = box[0] - whole[0], box[1] - whole[1], box[2] - whole[0], box[3] - whole[1]
        return Pixels(array=resize(pixels.array, box=inner, height=height, width=width), unreadable=pixels.unreadable)

    def _in_parts(self, stored: int, denominator: int, box: tuple[float, ...], tile_px: int, parts: int) -> Pixels:
        out = np.empty((tile_px, tile_px, 3), np.uint8)
        cuts = [round(part * tile_px / parts) for part in range(parts + 1)]
        step_y, step_x = (box[2] - box[0]) / tile_px, (box[3] - box[1]) / tile_px
        unreadable = 0
        for y0, y1 in itertools.pairwise(cuts):
            for x0, x1 in itertools.pairwise(cuts):
                part = (box[0] + y0 * step_y, box[1] + x0 * step_x, box[0] + y1 * step_y, box[1] + x1 * step_x)
                pixels = self._resampled(stored, denominator, part, y1 - y0, x1 - x0)
                out[y0:y1, x0:x1] = pixels.array
                unreadable += pixels.unreadable
        return Pixels(array=out, unreadable=unreadable)
