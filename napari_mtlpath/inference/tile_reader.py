"""Model tiles from a slide: whole ones only."""

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.inputs import AnalysedSlide
from napari_mtlpath.tiles.grid import TileGrid

SILENT_STORAGE_SECONDS = 10.0  # a read that takes longer is not slow, it hangs


def read_tile(slide: AnalysedSlide, grid: TileGrid, index: int) -> NDArray[np.uint8] | None:
    """Read one tile as the encoder takes it, [tile_px, tile_px, 3]; None where a part of it is unreadable."""
    y, x = grid.corner(index)
    pixels = slide.read_square(y, x, grid.side, tile_px=grid.spec.tile_px, resampling=grid.spec.resampling)
    return pixels.array if pixels.complete else None


def silent_storage(slide: AnalysedSlide) -> str:
    """Say that the storage of a slide does not answer."""
    return f"The storage of {slide.name} is not answering; waiting. Check the disk or the network."
