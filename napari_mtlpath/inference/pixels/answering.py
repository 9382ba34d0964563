"""Tiles through a pixel model, and what to do when memory runs out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.encode import SMALLEST_BATCH, is_out_of_memory
from napari_mtlpath.inference.inputs import AnalysedSlide
from napari_mtlpath.inference.pixels.inputs import AnsweringModel
from napari_mtlpath.inference.pixels.lattice import Lattice
from napari_mtlpath.inference.pixels.planes import Planes


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """Windows [tile, plane, y, x] as bytes, numbers [tile, output], and the batch size that the memory allowed."""

    windows: NDArray[np.uint8]
    numbers: NDArray[np.float32]
    size: int


def planes_for(model: AnsweringModel) -> Planes:
    """Find out how a model answers, by asking it about two blank tiles."""
    side = model.card.tile.tile_px
    return Planes.of(model.tasks, model.answer(np.full((SMALLEST_BATCH, side, side, 3), 255, np.uint8)))


def answer(model: AnsweringModel, planes: Planes, tiles: Sequence[NDArray[np.uint8]], *, size: int) -> Answered:
    """Answer for tiles what `planes` hold, in batches of `size`, halved each time the memory does not suffice.

    Raises
    ------
    MemoryError
        If a single tile is too much.
    ValueError
        If an answer is not finite.
    """
    windows, numbers = [], []
    wanted = [task.name for task in planes.tasks]
    first = 0
    while first < len(tiles):
        batch = tiles[first : first + size]
        try:
            # A tile alone is not doubled, as for encoders: what may differ in its last bit is rounded to bytes here.
            stacked = np.stack(batch)
            said = model.answer(stacked, wanted=wanted, attention=bool(planes.attentive))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise MemoryError(
                    f"There is not enough memory on {model.device} for a single tile of model {model.card.name!r}. "
                    "Close other programs or choose another device."
                ) from error
            size = len(batch) // 2
            continue
        windows.append(planes.bytes_of(said, shape=stacked.shape[:3]))
        numbers.append(planes.logits_of(said))
        first += len(batch)
    return Answered(windows=np.concatenate(windows), numbers=np.concatenate(numbers), size=size)


def read_window(slide: AnalysedSlide, lattice: Lattice, index: int) -> NDArray[np.uint8] | None:
    """Read one window as the network takes it, [y, x, 3]; None where a part of it is unreadable."""
    y, x, side = lattice.window(index)
    pixels = slide.read_square(y, x, side, tile_px=lattice.window_px, resampling=lattice.grid.spec.resampling)
    return pixels.array if pixels.complete else None


def short_of_memory(model: AnsweringModel, size: int) -> str:
    """Say that batches had to become smaller."""
    return f"Memory on {model.device} is short: going on with batches of {size} tiles."
