"""Markers of labelled tiles: a frame in the colour of the answer, in one small image that is changed in place."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_mtlpath.viewer.layers.outline import fineness

if TYPE_CHECKING:
    from napari_mtlpath.inference.heatmap import Placement

MARKERS_KEY = "mtlpath_labels"
"""Marks the metadata of a markers' layer."""

FILL_OPACITY, LINE_OPACITY = 56, 255
"""Of 255: the cell below stays visible, and far out, where frames vanish, the tint still shows."""

HOVER_PIXELS = 24
HOVER_COLOUR = (255, 255, 255)


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue of ``#rrggbb``.

    Examples
    --------
    >>> rgb_of("#ff8000")
    (255, 128, 0)
    """
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def framed(rgb: tuple[int, int, int], pixels: int, *, fill: int = FILL_OPACITY, width: int = 1) -> NDArray[np.uint8]:
    """Return a tinted square with a frame, RGBA [pixels, pixels, 4]."""
    square = np.empty((pixels, pixels, 4), np.uint8)
    square[..., :3] = rgb
    square[..., 3] = LINE_OPACITY
    square[width:-width, width:-width, 3] = fill
    return square


class MarkerLayer:
    """The layer that shows which tiles have a label, and takes the clicks that give them one.

    Parameters
    ----------
    shape
        Rows and columns of tiles.
    name
        What the layer is called.
    where, units
        Where a heatmap of the same tiles lies, and the world units of the slide's layer.
    """

    def __init__(self, shape: tuple[int, int], name: str, *, where: "Placement", units: tuple[str, str]) -> None:
        self._shape = shape
        self._pixels = pixels = fineness(shape)
        self._image = np.zeros((shape[0] * pixels, shape[1] * pixels, 4), np.uint8)
        self._shown: dict[int, str] = {}
        self._hovered: int | None = None
        scale, translate = finer(where, pixels)
        common: dict[str, Any] = {
            "rgb": True,
            "interpolation2d": "nearest",
            "blending": "translucent",
            "cache": False,
            "units": units,
            "axis_labels": ("y", "x"),
            "metadata": {MARKERS_KEY: True},
        }
        self.layer = Image(self._image, name=name, scale=scale, translate=translate, **common)
        self._where = where
        hover_scale, _ = finer(where, HOVER_PIXELS)
        self.hover = Image(
            framed(HOVER_COLOUR, HOVER_PIXELS, fill=0, width=2),
            name="Tile under the mouse",
            scale=hover_scale,
            visible=False,
            **common,
        )

    @property
    def hovered(self) -> int | None:
        """The tile under the mouse."""
        return self._hovered

    def show(self, colours: Mapping[int, str]) -> None:
        """Show tiles in colours, and no others; only what changed is painted."""
        changed = {index for index in {*self._shown, *colours} if self._shown.get(index) != colours.get(index)}
        if not changed:
            return
        rows, columns = self._shape
        tiles = self._image.reshape(rows, self._pixels, columns, self._pixels, 4)
        squares = {colour: framed(rgb_of(colour), self._pixels) for colour in {*colours.values()}}
        for index in changed:
            row, column = divmod(index, columns)
            tiles[row, :, column] = squares[colours[index]] if index in colours else 0
        self._shown = dict(colours)
        self.layer.refresh(extent=False, thumbnail=False, highlight=False)

    def tile_at(self, position: Any) -> int | None:  # noqa: ANN401 - a world position as napari gives it
        """Return the tile under a world position, or None outside of the grid."""
        y, x = np.floor((np.asarray(self.layer.world_to_data(position)[-2:]) + 0.5) / self._pixels).astype(int)
        rows, columns = self._shape
        return int(y * columns + x) if 0 <= y < rows and 0 <= x < columns else None

    def point_at(self, index: int | None) -> None:
        """Frame the tile under the mouse, or none."""
        if index == self._hovered:
            return
        self._hovered = index
        if index is not None:
            row, column = divmod(index, self._shape[1])
            _, first = finer(self._where, HOVER_PIXELS)
            self.hover.translate = (
                first[0] + row * self._where.scale[0],
                first[1] + column * self._where.scale[1],
            )
        if self.hover.visible != (index is not None):
            self.hover.visible = index is not None


def finer(where: "Placement", pixels: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return scale and translate of an image with so many pixels along the side of each tile."""
    scale = (where.scale[0] / pixels, where.scale[1] / pixels)
    shift = (1 - pixels) / 2
    return scale, (where.translate[0] + shift * scale[0], where.translate[1] + shift * scale[1])
