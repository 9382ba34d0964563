"""Which part of a slide is visible, and a signal when that has changed and come to rest."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import ref

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer, Signal

from napari_mtlpath.viewer.gui_time import gui_span

if TYPE_CHECKING:
    from napari.components import ViewerModel

REST_MS = 120
"""How long the camera must rest before the view counts as changed."""

Rect = tuple[float, float, float, float]
"""A rectangle on the slide as (y0, x0, y1, x1) in level-0 pixels, edges at whole numbers."""


def visible_rect(viewer: "ViewerModel", slide_layer: Layer) -> Rect:
    """Return the part of a slide that the canvas shows, clipped to the slide.

    The layer's own `corner_pixels` are no help: napari widens them to whole chunks. A slide outside of the canvas gives
    a rectangle of zero area.

    Parameters
    ----------
    viewer
        The viewer.
    slide_layer
        A layer whose data are level-0 pixels of the slide.
    """
    camera = viewer.scene.camera
    centre = np.asarray(camera.center[-2:], float)
    half = np.asarray(viewer.canvas.size, float) / (2 * camera.zoom)
    corners = np.array([slide_layer.world_to_data(centre + half * sign) for sign in _CORNERS])[:, -2:]
    size = np.asarray(slide_layer.level_shapes[0] if slide_layer.multiscale else slide_layer.data.shape)[:2]
    # napari counts pixel centres at whole numbers, so the slide's first edge lies at -1/2.
    low = np.clip(corners.min(axis=0) + 0.5, 0, size)
    high = np.clip(corners.max(axis=0) + 0.5, 0, size)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


_CORNERS = np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)])


class Viewport(QObject):
    """Tells when the camera or the canvas has changed and come to rest.

    Parameters
    ----------
    viewer
        The viewer; only a weak reference is kept.
    parent
        Qt parent.
    """

    rested = Signal()
    """The view has changed and stood still for :data:`REST_MS`."""

    moved = Signal()
    """The view is changing: emitted for every step."""

    def __init__(self, viewer: "ViewerModel", parent: QObject | None = None) -> None:
        super().__init__(parent)
        viewer = getattr(viewer, "__wrapped__", viewer)  # a plugin's proxy of the viewer dies at once
        self._viewer = ref(viewer)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REST_MS)
        self._timer.timeout.connect(self.rested)
        for connect in self._events(viewer):
            connect(self._on_move)

    def close(self) -> None:
        """Tell nothing any more."""
        self._timer.stop()
        viewer = self._viewer()
        if viewer is None:
            return
        camera, canvas = viewer.scene.camera, viewer.canvas
        for emitter in (camera.events.center, camera.events.zoom, canvas.events.size):
            emitter.disconnect(self._on_move)

    @staticmethod
    def _events(viewer: "ViewerModel") -> list[Callable[[Callable[..., None]], object]]:
        camera, canvas = viewer.scene.camera, viewer.canvas
        return [camera.events.center.connect, camera.events.zoom.connect, canvas.events.size.connect]

    def _on_move(self, event: object = None) -> None:
        with gui_span("viewport"):
            self._timer.start()
            self.moved.emit()
