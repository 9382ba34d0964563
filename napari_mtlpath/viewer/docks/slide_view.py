"""Where the camera is on the open slide, and how to move it: the docks' only way to napari's canvas."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

from napari_mtlpath.viewer.binding import binding_of
from napari_mtlpath.viewer.viewport import Rect, visible_rect

if TYPE_CHECKING:
    import napari


class SlideView:
    """The camera and the mouse in level-0 pixels of the session's slide.

    Parameters
    ----------
    viewer
        The viewer, of which only weak references are kept; None where there is none, as in tests of single sections.
    """

    def __init__(self, viewer: "napari.Viewer | None") -> None:
        self._binding = binding_of(viewer) if viewer is not None else None
        self._mouse: Callable[..., None] | None = None

    @property
    def viewer(self) -> Any:  # noqa: ANN401 - ViewerModel does not declare what its window adds
        """The viewer while it lives."""
        return self._binding.viewer if self._binding is not None else None

    def on_move(self, method: Callable[[], object]) -> None:
        """Call a method of a Qt object whenever the camera or the canvas changes."""
        if self._binding is not None:
            self._binding.viewport.moved.connect(method)

    def on_mouse(self, method: Callable[[float, float], object]) -> None:
        """Call a bound method with the level-0 pixel (y, x) under the mouse whenever the mouse moves on the canvas."""
        viewer, weak = self.viewer, WeakMethod(method)

        def moved(_: object, event: Any) -> None:  # noqa: ANN401 - napari's events are not typed
            receiver, place = weak(), self.place_of(event.position)
            if receiver is not None and place is not None:
                receiver(*place)

        if viewer is not None:
            self._mouse = moved
            viewer.mouse_move_callbacks.append(moved)

    def leave(self, _: object = None) -> None:
        """Follow the mouse no more. Calling it twice is harmless."""
        viewer = self.viewer
        if viewer is not None and self._mouse in viewer.mouse_move_callbacks:
            viewer.mouse_move_callbacks.remove(self._mouse)
        self._mouse = None

    def rect(self) -> Rect | None:
        """Return the visible part of the slide as (y0, x0, y1, x1), or None while there is nothing to see."""
        layer = self._binding.slide_layer() if self._binding is not None else None
        return visible_rect(self.viewer, layer) if layer is not None else None

    def centre_on(self, y: float, x: float) -> None:
        """Move the camera so that level-0 pixel (y, x) is in the middle of the canvas."""
        layer = self._binding.slide_layer() if self._binding is not None else None
        viewer = self.viewer
        if viewer is not None and layer is not None:
            viewer.scene.camera.center = tuple(layer.data_to_world((y, x)))[-2:]

    def place_of(self, position: tuple[float, ...]) -> tuple[float, float] | None:
        """Return the level-0 pixel (y, x) at a position of napari's world, or None without a slide."""
        layer = self._binding.slide_layer() if self._binding is not None else None
        if layer is None:
            return None
        y, x = layer.world_to_data(position[-2:])[-2:]
        return float(y), float(x)
