"""Opens a slide without keeping the GUI waiting: at once where it is quick, in the background where storage is slow."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import napari
from napari.utils.notifications import show_error, show_info

from napari_mtlpath.slides.source import SlideError
from napari_mtlpath.viewer.binding import session_of
from napari_mtlpath.viewer.layers.slide_layer import slide_layer_data
from napari_mtlpath.viewer.worker import run

if TYPE_CHECKING:
    from napari_mtlpath.session.session import Session
    from napari_mtlpath.slides.slide import Slide

PATIENCE_S = 5.0
"""What opens within this time is there when the reader returns; for slower storage the slide appears later."""

LayerData = tuple[Any, ...]
Layers = list[LayerData]


def layers_of(open_it: "Callable[[Session | None], Slide]", *, what: str, meanwhile: Layers | None = None) -> Layers:
    """Return the layer of a slide; where storage is slow, return `meanwhile` and add the slide later.

    Parameters
    ----------
    open_it
        Opens the slide, in a thread. It is given the session of the present viewer, or None without a viewer.
    what
        What is being opened, for the notification.
    meanwhile
        What to show until a slow slide is there; it is recognised, and removed, by its name.

    Raises
    ------
    SlideError, OSError
        If the verdict comes soon and it is that there is no slide. A late verdict is told as a notification.
    """
    viewer = napari.current_viewer()
    session = session_of(viewer) if viewer is not None else None
    opening = _Opening(lambda: open_it(session))
    if viewer is None or session is None:
        opening.wait(None)
    elif not opening.wait(PATIENCE_S):
        show_info(f"{what} is not there yet. It appears as soon as it is.")
        waiting = {options["name"] for _, options, _ in meanwhile or ()}
        _attach_later(opening, session, viewer, waiting)
        return meanwhile or []
    if opening.error is not None:
        raise opening.error
    return [slide_layer_data(opening.slide)] if opening.slide is not None else []


def _attach_later(opening: "_Opening", session: "Session", viewer: "napari.Viewer", waiting: set[str]) -> None:
    def attach(_: object) -> None:
        if session.closed:
            return
        for layer in [layer for layer in viewer.layers if layer.name in waiting]:
            viewer.layers.remove(layer)
        if opening.slide is not None:
            session.attach_slide(opening.slide)  # the binding adds the layer
        elif opening.error is not None:
            show_error(str(opening.error))

    run(lambda: opening.wait(None), on_done=attach)


class _Opening:
    """A slide that is being opened in a thread."""

    def __init__(self, open_it: "Callable[[], Slide]") -> None:
        self._open_it = open_it
        self.slide: Slide | None = None
        self.error: SlideError | OSError | None = None
        self._thread = threading.Thread(target=self._open, name="mtlpath-open", daemon=True)
        self._thread.start()

    def wait(self, seconds: float | None) -> bool:
        """Wait for the verdict; return whether it is there."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _open(self) -> None:
        try:
            self.slide = self._open_it()
        except (SlideError, OSError) as error:
            self.error = error
