"""The outline of a set of tiles as a small image: drawn inside the chosen tiles, changed in place.

napari's Vectors and Shapes would import pandas in the GUI thread (more than a second) and take 25 ms for every change.
"""

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_mtlpath.inference.heatmap import Placement

OUTLINE_KEY = "mtlpath_outline"
"""Marks the metadata of an outline's layer."""

OUTLINE_COLOUR = (0.0, 0.9, 1.0, 1.0)
"""Cyan: neither in H&E, nor in DAB, nor in the dark half of the colour maps."""

FINENESS = ((5_000, 16), (20_000, 8))
"""Pixels along a tile's side for up to so many tiles; the line is one of them wide."""

COARSEST = 4


def fineness(shape: tuple[int, int]) -> int:
    """Return how many pixels a tile's side has in the outline of a grid; the image stays near a megapixel."""
    return next((pixels for tiles, pixels in FINENESS if shape[0] * shape[1] <= tiles), COARSEST)


def outline_image(selected: NDArray[np.bool_], pixels: int) -> NDArray[np.uint8]:
    """Return 1 along the inside of the border of the chosen tiles, else 0.

    Parameters
    ----------
    selected
        Chosen tiles [row, column].
    pixels
        Pixels along a tile's side.

    Examples
    --------
    >>> outline_image(np.array([[True]]), 4)
    array([[1, 1, 1, 1],
           [1, 0, 0, 1],
           [1, 0, 0, 1],
           [1, 1, 1, 1]], dtype=uint8)
    """
    rows, columns = selected.shape
    image = np.zeros((rows, pixels, columns, pixels), np.uint8)
    around = np.pad(selected, 1)
    inside = around[1:-1, 1:-1]
    image[:, 0] |= (inside & ~around[:-2, 1:-1])[..., None]
    image[:, -1] |= (inside & ~around[2:, 1:-1])[..., None]
    image[..., 0] |= (inside & ~around[1:-1, :-2])[:, None]
    image[..., -1] |= (inside & ~around[1:-1, 2:])[:, None]
    return image.reshape(rows * pixels, columns * pixels)


class OutlineLayer:
    """The layer that outlines the tiles which a task's router selected.

    Parameters
    ----------
    selected
        Chosen tiles [row, column].
    where, units
        Where the heatmap of the same tiles lies, and the world units of the slide's layer.
    """

    def __init__(self, selected: NDArray[np.bool_], *, where: "Placement", units: tuple[str, str]) -> None:
        self._selected = selected
        self._pixels = fineness(selected.shape)
        self._image = outline_image(selected, self._pixels)
        scale, translate = self._place(where)
        self.layer = Image(
            self._image,
            name="Selected tiles",
            colormap=Colormap([(0.0, 0.0, 0.0, 0.0), OUTLINE_COLOUR], name="outline (tiles)"),
            contrast_limits=(0, 1),
            interpolation2d="nearest",
            blending="translucent",
            cache=False,
            scale=scale,
            translate=translate,
            units=units,
            axis_labels=("y", "x"),
            metadata={OUTLINE_KEY: True},
        )

    def fits(self, selected: NDArray[np.bool_]) -> bool:
        """Whether these tiles lie on a grid of the same size."""
        return selected.shape == self._selected.shape

    def show(self, selected: NDArray[np.bool_], *, where: "Placement") -> None:
        """Outline other tiles of a grid of the same size."""
        if selected is self._selected:
            return
        self._selected = selected
        self._image[:] = outline_image(selected, self._pixels)
        scale, translate = self._place(where)
        if not np.array_equal(self.layer.scale, scale):
            self.layer.scale, self.layer.translate = scale, translate
        self.layer.refresh(extent=False, thumbnail=False, highlight=False)

    def _place(self, where: "Placement") -> tuple[tuple[float, float], tuple[float, float]]:
        """Return scale and translate of the finer image; a pixel's position is that of its centre."""
        scale = (where.scale[0] / self._pixels, where.scale[1] / self._pixels)
        shift = (1 - self._pixels) / 2
        return scale, (where.translate[0] + shift * scale[0], where.translate[1] + shift * scale[1])
