"""Ties one viewer to one session: layers appear, move and go as the session's slide does, and the other way round."""

import logging
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import finalize, ref

from napari.layers import Layer
from napari.settings import get_settings
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QTimer

from napari_mtlpath.session.messages import Level, Message
from napari_mtlpath.session.session import Session
from napari_mtlpath.viewer.bridge import Bridge
from napari_mtlpath.viewer.compilers import keep_compilers_apart
from napari_mtlpath.viewer.docks.shortcuts import docks_open
from napari_mtlpath.viewer.drawing_context import DrawingContext
from napari_mtlpath.viewer.gui_time import gui_span
from napari_mtlpath.viewer.handover import make_handover_safe
from napari_mtlpath.viewer.layers.hover import HoverWords
from napari_mtlpath.viewer.layers.label_layers import LabelLayers
from napari_mtlpath.viewer.layers.overlay_layer import OverlayLayers
from napari_mtlpath.viewer.layers.pixel_overlay import PixelOverlay
from napari_mtlpath.viewer.layers.slide_layer import display_of, hollow, placing, slide_layer_data, slide_of
from napari_mtlpath.viewer.layers.underlay import lay_under, rescale, take_away
from napari_mtlpath.viewer.mailbox import Mailbox
from napari_mtlpath.viewer.viewport import Viewport, visible_rect

if TYPE_CHECKING:
    import napari
    from napari.components import ViewerModel

logger = logging.getLogger(__name__)

_TELL = {Level.INFO: show_info, Level.WARNING: show_warning, Level.ERROR: show_error}

CLOSING_SECONDS = 2.0
"""How long a closed viewer waits for the tiles that are being read."""

_bindings: dict[int, "ViewerBinding"] = {}
"""One per living viewer, by the viewer's identity; removed when the viewer closes or is collected."""


def binding_of(viewer: "napari.Viewer | ViewerModel") -> "ViewerBinding":
    """Return the binding of a viewer; it is made on first use. Call it in the GUI thread."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # napari hands plugins a proxy; the viewer itself is the identity
    binding = _bindings.get(id(viewer))
    if binding is None or binding.viewer is not viewer:
        binding = _bindings[id(viewer)] = ViewerBinding(viewer)
        finalize(viewer, _forget, ref(binding))
    return binding


def session_of(viewer: "napari.Viewer | ViewerModel") -> Session:
    """Return the session of a viewer; there is exactly one. Call it in the GUI thread."""
    return binding_of(viewer).session


def _forget(binding: "ref[ViewerBinding]") -> None:
    """End what belonged to a viewer that was collected, perhaps by another thread."""
    gone = binding()
    if gone is not None:
        gone.retire()


class ViewerBinding:
    """What connects a viewer and its session. Made by :func:`binding_of`.

    Attributes
    ----------
    session
        The session.
    bridge
        The session's news in the GUI thread.
    viewport
        Tells when the view has moved.
    overlays, pixels
        What is painted tile by tile, and pixel by pixel.
    label_layers
        The labels, and the tools that make them.
    """

    def __init__(self, viewer: "ViewerModel") -> None:
        keep_compilers_apart()  # before a model is loaded beside this viewer's graphics
        make_handover_safe()  # before napari's slicing thread hands its first slice over
        self._viewer = ref(viewer)
        self._identity = id(viewer)
        self._closed = False
        self._end: Mailbox[None] = Mailbox(lambda _: self.close())
        self._scale_bar_shown = False
        self._drawing = DrawingContext(viewer)
        self.session = Session()
        self.bridge = Bridge(self.session)
        self.viewport = Viewport(viewer)
        self.overlays = OverlayLayers(viewer, self.session)
        self.pixels = PixelOverlay(viewer, self.session)
        self.label_layers = LabelLayers(viewer, self.session)
        self._hover = HoverWords(viewer, self.overlays, self.pixels)
        self._connect(viewer)
        for layer in viewer.layers:
            self._adopt(layer)

    @property
    def viewer(self) -> "ViewerModel | None":
        """The viewer, while it lives."""
        return self._viewer()

    def slide_layer(self) -> Layer | None:
        """Return the layer that shows the session's slide, or None."""
        viewer, slide = self.viewer, self.session.slide
        if viewer is None or slide is None:
            return None
        return next((layer for layer in viewer.layers if slide_of(layer) is slide), None)

    def retire(self) -> None:
        """Close soon, in the GUI thread; call it from any thread."""
        self._end.post(None)

    def close(self) -> None:
        """End the session and everything that shows it. Closing twice is harmless."""
        if self._closed:
            return
        self._closed = True
        get_settings().experimental.events.async_.disconnect(self._on_async)
        self._hover.close()
        self.overlays.close()
        self.pixels.close()
        self.label_layers.close()
        self.viewport.close()
        self.bridge.close()
        viewer = self.viewer
        if viewer is not None:
            viewer.layers.events.inserted.disconnect(self._on_inserted)
            viewer.layers.events.removed.disconnect(self._on_removed)
            for layer in viewer.layers:
                if (display := display_of(layer)) is not None:
                    display.close(timeout=CLOSING_SECONDS)
        if _bindings.get(self._identity) is self:
            del _bindings[self._identity]
        self._end.close()
        self.session.close()

    def _connect(self, viewer: "ViewerModel") -> None:
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        get_settings().experimental.events.async_.connect(self._on_async)
        self.viewport.rested.connect(self._on_rest)
        self.bridge.slide_changed.connect(self._on_slide_changed)
        self.bridge.resolution_changed.connect(self._on_resolution_changed)
        self.bridge.message.connect(self._on_message)
        self.overlays.listen(self.bridge)
        self.pixels.listen(self.bridge)
        self.label_layers.listen(self.bridge)
        window = getattr(viewer, "window", None)
        if window is not None:
            window.main_menu.window().destroyed.connect(self.close)

    def _adopt(self, layer: Layer) -> None:
        """Feed a slide's layer and make its slide the session's."""
        display, viewer = display_of(layer), self.viewer
        if display is None or viewer is None:
            return
        display.show_in(layer)
        lay_under(viewer, layer)
        if not self._scale_bar_shown:  # Once: a user who turns it off means it.
            self._scale_bar_shown = True
            viewer.canvas.overlays.scale_bar.visible = True
        if self.session.slide is not display.slide:
            self.session.attach_slide(display.slide)

    def _on_inserted(self, event: Any) -> None:  # noqa: ANN401 - napari's events are not typed
        with gui_span("layer inserted"):
            self._adopt(event.value)

    def _on_removed(self, event: Any) -> None:  # noqa: ANN401
        with gui_span("layer removed"):
            layer, viewer = event.value, self.viewer
            display = display_of(layer)
            if display is None or viewer is None or not display.leave(layer):
                return
            take_away(viewer, display)
            display.close()
            if self.session.slide is display.slide:
                self.session.close_slide()
        QTimer.singleShot(0, partial(hollow, layer))  # once napari has finished with it

    def _on_slide_changed(self, _: object) -> None:
        """Show the session's slide, and no other."""
        viewer, slide = self.viewer, self.session.slide
        if viewer is None or self._closed:
            return
        others = [layer for layer in viewer.layers if slide_of(layer) not in (None, slide)]
        for layer in others:
            viewer.layers.remove(layer)
        if slide is not None and self.slide_layer() is None:
            levels, options, _ = slide_layer_data(slide)
            viewer.add_image(levels, **options)
        if others and slide is not None:
            viewer.reset_view()
        self._on_rest()

    def _on_resolution_changed(self, _: object) -> None:
        """Place all layers of the slide anew and keep looking at the same tissue."""
        viewer, layer = self.viewer, self.slide_layer()
        display = display_of(layer) if layer is not None else None
        if viewer is None or layer is None or display is None:
            return
        placed = placing(display.slide.resolution)
        growth = placed["scale"][0] / layer.scale[0]
        camera = viewer.scene.camera
        centre, zoom = camera.center, camera.zoom
        for shown in [other for other in viewer.layers if slide_of(other) is display.slide]:
            shown.scale, shown.units = placed["scale"], placed["units"]
        rescale(viewer, display)
        self.overlays.place()
        self.pixels.place()
        camera.center = (*centre[:-2], centre[-2] * growth, centre[-1] * growth)
        camera.zoom = zoom / growth

    def _on_message(self, message: Message) -> None:
        """Say through napari what no dock is there to say."""
        if not docks_open(self.session):
            _TELL[message.level](message.text)

    def _on_rest(self) -> None:
        with gui_span("view rested"):
            viewer, layer = self.viewer, self.slide_layer()
            if viewer is None or layer is None:
                return
            top, left, bottom, right = visible_rect(viewer, layer)
            if bottom > top and right > left:
                self.session.look_at((top, left, bottom, right))

    def _on_async(self, event: object = None) -> None:
        """Follow the user, who turned napari's asynchronous slicing on or off."""
        viewer = self.viewer
        if viewer is None:
            return
        for layer in list(viewer.layers):
            display = display_of(layer)
            if display is None:
                continue
            if get_settings().experimental.async_:
                lay_under(viewer, layer)
            else:
                take_away(viewer, display)
