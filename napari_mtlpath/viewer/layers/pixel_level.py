"""One level of a pixel model's picture as napari sees it."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_mtlpath.viewer.gui_time import gui_span
from napari_mtlpath.viewer.layers.composition import Box
from napari_mtlpath.viewer.layers.indexing import Index, picked
from napari_mtlpath.viewer.layers.pixel_picture import PixelPicture

CHUNK = 128
"""napari widens what it asks for to whole chunks: so a small pan asks for nothing new."""

WHOLE_ARRAY_BYTES = 2**30
"""The largest picture that is made: beyond it a slice is see-through and ``numpy.asarray`` is refused."""


class PixelLevel:
    """An array-like [y, x, 4] of uint8 that is composed when it is sliced, from memory only.

    Parameters
    ----------
    picture
        What is shown.
    level
        Which of its levels.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, picture: PixelPicture, level: int) -> None:
        self._picture = picture
        self._level = level
        height, width = picture.levels[level]
        self.shape = (height, width, 4)
        self.size = height * width * 4
        self.chunks = (min(CHUNK, height), min(CHUNK, width), 4)

    def __len__(self) -> int:
        return self.shape[0]

    def __deepcopy__(self, memo: dict[int, Any]) -> "PixelLevel":
        """Return itself: duplicating a layer in napari copies its data, and a slide's answers are not copied."""
        return self

    def __getitem__(self, key: Index | tuple[Index, ...]) -> NDArray[np.uint8]:
        return picked(key, self.shape, self._look)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if self.size > WHOLE_ARRAY_BYTES:
            raise MemoryError(
                f"Level {self._level} of this picture would fill {self.size / 2**30:.0f} GiB; at most "
                f"{WHOLE_ARRAY_BYTES / 2**30:.0f} GiB were expected. Export the masks with 'mtlpath predict' instead."
            )
        array = self._look(Box(0, self.shape[0], 0, self.shape[1]))
        return array if dtype is None else array.astype(dtype, copy=False)

    def _look(self, box: Box) -> NDArray[np.uint8]:
        height, width = max(box.bottom - box.top, 0), max(box.right - box.left, 0)
        if height * width * 4 > WHOLE_ARRAY_BYTES:
            return np.broadcast_to(np.uint8(0), (height, width, 4))
        if height == 0 or width == 0:
            return np.empty((height, width, 4), np.uint8)
        with gui_span("compose pixels"):
            return self._picture.compose(self._level, box)
