"""One pyramid level as napari sees it: pixels at once, sharp or coarse, while the sharp ones are on their way."""

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_mtlpath.viewer.gui_time import gui_span
from napari_mtlpath.viewer.layers.composition import Box, Composition, Picture, TileKey
from napari_mtlpath.viewer.layers.indexing import Index, picked
from napari_mtlpath.viewer.layers.tile_loader import VIEW_PIXELS, TileLoader, View

if TYPE_CHECKING:
    from napari_mtlpath.slides.slide import Slide

logger = logging.getLogger(__name__)

WHOLE_ARRAY_BYTES = 2**30
"""The largest array that this class makes: beyond it a slice is blank and ``numpy.asarray`` is refused."""

BLUR_WORTH_A_STONE = 8
"""Where the stand-in is coarser than this, a tile in between is loaded first (a stepping stone)."""

LARGEST_CHUNK = 160
"""Larger tiles are announced to napari as several chunks along each side."""

PATIENCE_S = 0.04
"""A slice waits so long for tiles that are expected by then: drawing coarse pixels first would hold them up for longer.
Together with all else that a slice does it stays below the 50 ms at which a viewer begins to feel slow."""

BLANK = 235
"""Grey of what nothing is known about yet: light as glass, yet not white."""


class PlaceholderLevel:
    """An array-like [y, x, 3] of uint8 that never keeps napari waiting for long and never raises when it slices.

    Slicing returns the sharp tiles that are in memory and coarser pixels for the rest, and asks the loader for what is
    missing; where all of it is expected within a moment (:data:`PATIENCE_S`), it waits for it first.
    ``numpy.asarray(level)`` reads the real pixels, blocking. Whoever computes on pixels takes
    ``layer.metadata["dask"]``: a slice of this class may be blurred.

    Parameters
    ----------
    slide
        The slide, for the blocking path.
    level
        Which level; never the coarsest, which is a plain array.
    composition, loader
        Where the pixels come from, and who fetches missing ones.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, slide: "Slide", level: int, *, composition: Composition, loader: TileLoader) -> None:
        self._slide = slide
        self._level = level
        self._composition = composition
        self._loader = loader
        height, width = composition.shape.levels[level]
        self.shape = (height, width, 3)
        self.size = height * width * 3
        # napari widens what it asks for to whole chunks: large ones are asked for less often, small ones upload less.
        self.chunks = (
            *(-(-side // -(-side // LARGEST_CHUNK)) for side in composition.shape.tiles[level]),
            3,
        )
        self._stones = self._stone_level()

    def __len__(self) -> int:
        return self.shape[0]

    def __deepcopy__(self, memo: dict[int, Any]) -> "PlaceholderLevel":
        """Return itself: duplicating a layer in napari copies its data, and a slide cannot be copied."""
        return self

    def __getitem__(self, key: Index | tuple[Index, ...]) -> NDArray[np.uint8]:
        return picked(key, self.shape, self._look)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if self.size > WHOLE_ARRAY_BYTES:
            raise MemoryError(
                f"Level {self._level} of {self._slide.name!r} would fill {self.size / 2**30:.0f} GiB; at most "
                f"{WHOLE_ARRAY_BYTES / 2**30:.0f} GiB were expected. "
                f"Take parts of layer.metadata['dask'][{self._level}]."
            )
        array = np.empty(self.shape, np.uint8)
        for key, part in self._composition.shape.keys_in(self._level, Box(0, self.shape[0], 0, self.shape[1])):
            tile = self._loader.tile(key)
            sharp = self._slide.load_tile(*key).array if tile is None else tile
            array[part.top : part.bottom, part.left : part.right] = sharp
        return array if dtype is None else array.astype(dtype, copy=False)

    def _look(self, box: Box) -> NDArray[np.uint8]:
        height, width = box.bottom - box.top, box.right - box.left
        if height <= 0 or width <= 0:
            return np.empty((max(height, 0), max(width, 0), 3), np.uint8)
        if height * width * 3 > WHOLE_ARRAY_BYTES:
            logger.warning("A view of %d x %d px is too large to be shown; zoom in or unlock the level", height, width)
            return np.broadcast_to(np.uint8(BLANK), (height, width, 3))
        small = height * width <= VIEW_PIXELS
        view = View(self._level, box)
        if small:
            with gui_span("wait"):
                self._loader.wait_for(view, patience=PATIENCE_S)
        with gui_span("slice"):
            picture = self._composition.compose(self._level, box)
            if small:
                self._loader.look(view, missing=picture.missing, first=self._stones_under(picture, box))
            return picture.array

    def _stone_level(self) -> int | None:
        """Return the stored level that is 3 to 8 times coarser, the coarsest such; a computed one would be dear."""
        shape = self._composition.shape
        within = [
            other
            for other in range(self._level + 1, shape.coarsest)
            if shape.stored[other] and 3 <= shape.ratio(self._level, other)[0] <= BLUR_WORTH_A_STONE + 0.5
        ]
        return within[-1] if within else None

    def _stones_under(self, picture: Picture, box: Box) -> list[TileKey]:
        if self._stones is None or picture.coarsest_used <= self._stones or not picture.missing:
            return []
        shape = self._composition.shape
        down, across = shape.ratio(self._level, self._stones)
        height, width = shape.levels[self._stones]
        small = Box(
            min(int(box.top / down), height - 1),
            min(-int(-box.bottom // down), height),
            min(int(box.left / across), width - 1),
            min(-int(-box.right // across), width),
        )
        keys = [key for key, _ in shape.keys_in(self._stones, small)]
        return [key for key in keys if self._loader.tile(key) is None]
