"""Makes the napari layer of a slide: placeholder levels, physical units, and the slide itself in its metadata."""

import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_mtlpath.viewer.layers.composition import Box, Composition, PyramidShape, TileKey
from napari_mtlpath.viewer.layers.placeholder_level import BLANK, PlaceholderLevel
from napari_mtlpath.viewer.layers.refresher import Refresher
from napari_mtlpath.viewer.layers.tile_loader import READERS, RING_DELAY_S, TileLoader

if TYPE_CHECKING:
    from dask.array import Array

    from napari_mtlpath.slides.resolution import Resolution
    from napari_mtlpath.slides.slide import Slide

SLIDE_KEY = "slide"
"""Where a layer's metadata holds the :class:`~napari_mtlpath.slides.slide.Slide`."""

DISPLAY_KEY = "mtlpath_display"
"""Where a layer's metadata holds its :class:`SlideDisplay`."""


class SlideDisplay:
    """What shows one slide: its levels as napari sees them, the loader behind them, and the redrawing.

    Parameters
    ----------
    slide
        The slide. It is not closed here: whoever opened it does that.
    readers, ring_delay_s
        See :class:`TileLoader`.
    """

    def __init__(self, slide: "Slide", *, readers: int = READERS, ring_delay_s: float = RING_DELAY_S) -> None:
        self.slide = slide
        shape = PyramidShape(
            levels=tuple((level.height, level.width) for level in slide.levels),
            tiles=tuple(slide.tile_shape(level) for level in range(len(slide.levels))),
            stored=tuple(level.stored for level in slide.levels),
        )
        self.overview: NDArray[np.uint8] = np.full((*shape.levels[-1], 3), BLANK, np.uint8)
        self.refresher = Refresher()
        news = _News(shape, self.overview, self.refresher)
        self.loader = TileLoader(
            slide, shape, on_tile=news, on_view=self.refresher.seen, readers=readers, ring_delay_s=ring_delay_s
        )
        composition = Composition(shape, lookup=self.loader.tile, overview=self.overview)
        fine = [
            PlaceholderLevel(slide, level, composition=composition, loader=self.loader)
            for level in range(shape.coarsest)
        ]
        self.levels: list[PlaceholderLevel | NDArray[np.uint8]] = [*fine, self.overview]
        # A layer that nobody bound to a viewer must not leave threads behind when it is forgotten.
        self._finalizer = weakref.finalize(self, _end, self.loader, self.refresher)
        self.loader.demand(reversed(news.awaited))

    @property
    def settled(self) -> bool:
        """Whether the present view is complete and drawn."""
        return not self.loader.busy and not self.refresher.waiting

    def show_in(self, layer: Layer) -> None:
        """Redraw this layer whenever tiles arrive."""
        self.refresher.add(layer)

    def leave(self, layer: Layer) -> bool:
        """Stop redrawing this layer; return whether no other layer shows the slide."""
        self.refresher.discard(layer)
        return not self.refresher.layers

    def close(self, *, timeout: float = 0.0) -> None:
        """Redraw nothing any more and stop the loader's threads; wait for them at most `timeout` seconds.

        Without waiting a thread ends after the tile that it is at. Closing twice is harmless.
        """
        self.refresher.close()
        self.loader.close(timeout=timeout)
        self._finalizer.detach()


def _end(loader: TileLoader, refresher: Refresher) -> None:
    refresher.close()
    loader.close(timeout=0.0)


class _News:
    """Receives tiles from the loader: fills the overview, and asks for a redraw when the view changed."""

    def __init__(self, shape: PyramidShape, overview: NDArray[np.uint8], refresher: Refresher) -> None:
        self._shape = shape
        self._overview = overview
        self._refresher = refresher
        height, width = shape.levels[-1]
        self._parts = dict(shape.keys_in(shape.coarsest, Box(0, height, 0, width)))
        self.awaited = tuple(self._parts)
        self._filled: set[TileKey] = set()

    def __call__(self, key: TileKey, tile: NDArray[np.uint8], useful: bool, last: bool) -> None:
        part = self._parts.get(key)
        if part is not None:
            self._overview[part.top : part.bottom, part.left : part.right] = tile
            self._filled.add(key)
            self._refresher.post(thumbnail=len(self._filled) == len(self._parts))
        elif useful:
            self._refresher.post(at_once=last)


class LazyLevels(Sequence["Array"]):
    """The slide's real pixels, lazily: one dask array [y, x, 3] of uint8 per level, made when asked for."""

    def __init__(self, slide: "Slide") -> None:
        self._slide = slide

    def __len__(self) -> int:
        return len(self._slide.levels)

    @overload
    def __getitem__(self, index: int) -> "Array": ...
    @overload
    def __getitem__(self, index: slice) -> "Sequence[Array]": ...
    def __getitem__(self, index: int | slice) -> "Array | Sequence[Array]":
        picked = range(len(self))[index]
        if isinstance(picked, range):
            return [self._slide.to_dask(level) for level in picked]
        return self._slide.to_dask(picked)

    def __iter__(self) -> Iterator["Array"]:
        return (self[level] for level in range(len(self)))


def slide_layer_data(
    slide: "Slide", *, readers: int = READERS, ring_delay_s: float = RING_DELAY_S
) -> tuple[list[Any], dict[str, Any], str]:
    """Return the layer data tuple of a slide: levels, keyword arguments of ``add_image``, ``"image"``.

    Parameters
    ----------
    slide
        An open slide.
    readers, ring_delay_s
        See :class:`TileLoader`.
    """
    display = SlideDisplay(slide, readers=readers, ring_delay_s=ring_delay_s)
    options = {
        "name": slide.name,
        "multiscale": True,
        "rgb": True,
        "contrast_limits": (0, 255),
        "cache": False,  # napari's dask cache is process-wide and not thread-safe; the slide has its own
        "metadata": {SLIDE_KEY: slide, "dask": LazyLevels(slide), DISPLAY_KEY: display},
        **placing(slide.resolution),
    }
    return display.levels, options, "image"


def placing(resolution: "Resolution") -> dict[str, Any]:
    """Return scale, units and axis labels of a layer in level-0 pixels of a slide.

    All layers of a slide carry the same units: napari drops them for the whole viewer where they differ.
    """
    scale = resolution.mpp if resolution.mpp is not None else (1.0, 1.0)
    return {"scale": scale, "units": units_of(resolution), "axis_labels": ("y", "x")}


def units_of(resolution: "Resolution") -> tuple[str, str]:
    """Return the world units of all layers of a slide: microns where its resolution is known, else pixels."""
    return ("um", "um") if resolution.known else ("pixel", "pixel")


def hollow(layer: Layer) -> None:
    """Take the pixels, the slide and its display out of a layer that was removed.

    napari 0.9 keeps every removed layer alive in its layer controls, and with it a screenful of pixels.
    """
    blank = np.broadcast_to(np.uint8(BLANK), (1, 1, 3))
    layer.metadata = {}
    layer.data = [np.broadcast_to(blank, (*tuple(shape), 3)) for shape in layer.level_shapes]


def slide_of(layer: Layer) -> "Slide | None":
    """Return the slide that a layer shows, or None."""
    return layer.metadata.get(SLIDE_KEY) if isinstance(layer, Image) else None


def display_of(layer: Layer) -> SlideDisplay | None:
    """Return what feeds a slide's layer, or None for any other layer."""
    return layer.metadata.get(DISPLAY_KEY) if isinstance(layer, Image) else None
