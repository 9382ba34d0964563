"""Adds the heatmap's raw value, in words, to what napari's status bar says about the place under the mouse."""

from typing import TYPE_CHECKING, Any
from weakref import ref

from napari_mtlpath.viewer.gui_time import gui_span
from napari_mtlpath.viewer.layers.overlay_layer import OverlayLayers
from napari_mtlpath.viewer.layers.pixel_overlay import PixelOverlay

if TYPE_CHECKING:
    from napari.components import ViewerModel


class HoverWords:
    """Follows the status bar of a viewer.

    Parameters
    ----------
    viewer
        The viewer; only a weak reference is kept.
    overlays, pixels
        Whose values: tile by tile, and pixel by pixel; None for tiles alone.
    """

    def __init__(self, viewer: "ViewerModel", overlays: OverlayLayers, pixels: PixelOverlay | None = None) -> None:
        self._viewer = ref(viewer)
        self._overlays = overlays
        self._pixels = pixels
        self._written: str | dict[str, str] = ""
        viewer.events.status.connect(self._on_status)

    def close(self) -> None:
        """Leave the status bar alone."""
        viewer = self._viewer()
        if viewer is not None:
            viewer.events.status.disconnect(self._on_status)

    def _on_status(self, event: Any) -> None:  # noqa: ANN401 - napari's events are not typed
        with gui_span("hover"):
            viewer = self._viewer()
            shown = (self._pixels.shown if self._pixels is not None else None) or self._overlays.shown
            # napari tells of our own change too, some time after it was made.
            if viewer is None or shown is None or not shown.layer.visible or viewer.status == self._written:
                return
            if words := shown.words_at(viewer.cursor.position):
                self._written = _with_words(viewer.status, words)
                viewer.status = self._written


def _with_words(status: str | dict[str, str], words: str) -> str | dict[str, str]:
    if isinstance(status, dict):
        return {**status, "coordinates": f"{status.get('coordinates', '')}   {words}"}
    return f"{status}   {words}"
