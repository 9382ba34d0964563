"""A coarse copy of the slide below its layer, where napari slices asynchronously: so that nothing is ever black.

In napari's default mode the slide's own layer is never late. With asynchronous slicing (a user's setting) napari shows
the old rectangle until the new one has been sliced, and black beside it.
"""

import logging
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Layer
from napari.settings import get_settings

from napari_mtlpath.viewer.layers.quiet import add_quietly
from napari_mtlpath.viewer.layers.slide_layer import SlideDisplay, display_of, units_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

logger = logging.getLogger(__name__)

UNDERLAY_KEY = "mtlpath_underlay"
"""Where the metadata of an underlay holds the display of its slide."""


def asynchronous() -> bool:
    """Whether the user lets napari slice asynchronously. The setting is only read, never changed."""
    return bool(get_settings().experimental.async_)


def underlay_options(display: SlideDisplay) -> dict[str, Any]:
    """Return the keyword arguments of the underlay's image layer; its data are the slide's coarsest level."""
    resolution = display.slide.resolution
    mpp = resolution.mpp if resolution.mpp is not None else (1.0, 1.0)
    height, width = display.overview.shape[:2]
    shrink = (display.slide.height / height, display.slide.width / width)
    return {
        "name": f"{display.slide.name} (coarse)",
        "rgb": True,
        "contrast_limits": (0, 255),
        "cache": False,
        "metadata": {UNDERLAY_KEY: display},
        "scale": (mpp[0] * shrink[0], mpp[1] * shrink[1]),
        # A pixel's position is that of its centre.
        "translate": (mpp[0] * (shrink[0] - 1) / 2, mpp[1] * (shrink[1] - 1) / 2),
        "units": units_of(resolution),
        "axis_labels": ("y", "x"),
    }


def underlay_of(viewer: "ViewerModel", display: SlideDisplay) -> Layer | None:
    """Return the underlay of a slide in this viewer, or None."""
    return next((layer for layer in viewer.layers if layer.metadata.get(UNDERLAY_KEY) is display), None)


def lay_under(viewer: "ViewerModel", slide_layer: Layer) -> None:
    """Add the underlay of a slide's layer if it is needed and not there."""
    display = display_of(slide_layer)
    if display is None or not asynchronous() or underlay_of(viewer, display) is not None:
        return
    underlay = Image(display.overview, **underlay_options(display))
    underlay.visible = slide_layer.visible
    add_quietly(viewer, underlay, index=viewer.layers.index(slide_layer))
    display.refresher.add(underlay, only_overview=True)

    def follow() -> None:
        underlay.visible = slide_layer.visible

    slide_layer.events.visible.connect(follow)


def take_away(viewer: "ViewerModel", display: SlideDisplay) -> None:
    """Remove the underlay of a slide, if there is one."""
    underlay = underlay_of(viewer, display)
    if underlay is not None:
        viewer.layers.remove(underlay)


def rescale(viewer: "ViewerModel", display: SlideDisplay) -> None:
    """Place the underlay anew after the slide's resolution has changed."""
    underlay = underlay_of(viewer, display)
    if underlay is not None:
        options = underlay_options(display)
        underlay.scale, underlay.translate, underlay.units = options["scale"], options["translate"], options["units"]
