"""Paints the session's answers pixel by pixel over the slide: one layer, that of the chosen task."""

from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QTimer

from napari_mtlpath.viewer.class_colours import is_dark_theme
from napari_mtlpath.viewer.gui_time import gui_span
from napari_mtlpath.viewer.layers.pixel_layer import PixelLayer
from napari_mtlpath.viewer.layers.quiet import add_quietly
from napari_mtlpath.viewer.layers.slide_layer import slide_of, units_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_mtlpath.inference.pixels.painting import PixelPainting
    from napari_mtlpath.session.session import Session
    from napari_mtlpath.viewer.bridge import Bridge


class PixelOverlay:
    """Keeps the pixel layer of a viewer equal to what its session knows and what the user chose.

    The layer belongs to the user: what is changed in napari's controls stays, opacity and visibility go back to the
    session, and a layer that was deleted comes back only when the overlay is switched on again.

    Parameters
    ----------
    viewer
        Where to paint; only a weak reference is kept.
    session
        What to paint.
    """

    def __init__(self, viewer: "ViewerModel", session: "Session") -> None:
        self._viewer = ref(viewer)
        self._session = session
        self._shown: PixelLayer | None = None
        self._busy = False
        self._closed = False
        self._deleted: Layer | None = None
        self._bereft = QTimer()
        self._bereft.setSingleShot(True)
        self._bereft.timeout.connect(self._own_up)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.events.theme.connect(self._on_news)

    def listen(self, bridge: "Bridge") -> None:
        """Repaint whenever the session has news."""
        for signal in (bridge.overlay_changed, bridge.report_changed, bridge.model_changed, bridge.slide_changed):
            signal.connect(self._on_news)

    @property
    def shown(self) -> PixelLayer | None:
        """The layer, where one is shown."""
        return self._shown if self._shown is not None and self._shown.layer.visible else None

    def update(self) -> None:
        """Paint what the session knows now."""
        viewer = self._viewer()
        if viewer is None or self._closed or self._deleted is not None:
            return
        self._busy = True
        try:
            painting, awaited = self._painting(), self._session.result is not None
            if painting is not None:
                self._paint(viewer, painting)
            elif self._shown is not None and awaited and self._shown.task in self._session.tasks:
                self._shown.layer.visible = False  # another kind or task: taking a layer away costs half a second
            else:
                self._clear(viewer)
        finally:
            self._busy = False

    def place(self) -> None:
        """Take the layer away: after a change of resolution the answers are others, and come anew."""
        viewer = self._viewer()
        if viewer is not None:
            self._busy = True
            self._clear(viewer)
            self._busy = False

    def close(self) -> None:
        """Paint nothing any more."""
        self._closed = True
        self._bereft.stop()
        viewer = self._viewer()
        if viewer is not None:
            viewer.layers.events.removed.disconnect(self._on_removed)
            viewer.events.theme.disconnect(self._on_news)
        if self._shown is not None:
            self._shown.close()
            self._shown = None

    def _painting(self) -> "PixelPainting | None":
        """Return the answers, if they hold what is chosen and it is not painted tile by tile."""
        session = self._session
        result, choice = session.result, session.overlay
        painting = result.painting if result is not None and session.slide is not None else None
        return painting if painting is not None and (choice.task, choice.kind.value) in painting.offered else None

    def _paint(self, viewer: "ViewerModel", painting: "PixelPainting") -> None:
        session = self._session
        choice, slide = session.overlay, session.slide
        task = next((task for task in session.tasks if task.name == choice.task), None)
        if slide is None or slide.resolution.mpp is None or task is None:
            return
        dark = is_dark_theme(viewer)
        shown = self._shown
        if shown is not None and shown.painting.maps is not painting.maps:
            self._clear(viewer)
            shown = None
        if shown is None and choice.visible:
            units = units_of(slide.resolution)
            shown = PixelLayer(task, painting, mpp=slide.resolution.mpp, units=units, choice=choice, dark=dark)
            self._shown = shown
            add_quietly(viewer, shown.layer)
            shown.layer.events.opacity.connect(self._on_layer_opacity)
            shown.layer.events.visible.connect(self._on_layer_visible)
        elif shown is not None:
            shown.choose(task, choice, dark=dark)
            shown.show(painting)
            if shown.layer.visible != choice.visible:
                shown.layer.visible = choice.visible

    def _clear(self, viewer: "ViewerModel") -> None:
        if self._shown is not None:
            self._shown.close()
            if self._shown.layer in viewer.layers:
                viewer.layers.remove(self._shown.layer)
            self._shown = None

    def _on_news(self, _: object = None) -> None:
        with gui_span("paint pixels"):
            self.update()

    def _on_removed(self, event: Any) -> None:  # noqa: ANN401 - napari's events are not typed
        if self._busy or self._closed or self._shown is None or event.value is not self._shown.layer:
            return
        self._shown.close()
        self._shown, self._deleted = None, event.value
        self._bereft.start(0)

    def _own_up(self) -> None:
        """Switch off what the user deleted, unless it went with the slide, as when all layers are deleted."""
        viewer, self._deleted = self._viewer(), None
        if viewer is None or self._closed:
            return
        if any(slide_of(layer) is self._session.slide for layer in viewer.layers):
            self._session.set_overlay(visible=False)
        self.update()

    def _on_layer_opacity(self, event: Any) -> None:  # noqa: ANN401
        if not self._busy and self._shown is not None and event.source is self._shown.layer:
            self._session.set_overlay(opacity=float(np.clip(self._shown.layer.opacity, 0.0, 1.0)))

    def _on_layer_visible(self, event: Any) -> None:  # noqa: ANN401
        if not self._busy and self._shown is not None and event.source is self._shown.layer:
            self._session.set_overlay(visible=bool(self._shown.layer.visible))
