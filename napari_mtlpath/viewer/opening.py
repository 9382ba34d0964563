"""Opens a slide for napari's readers: in a thread, with the window alive while napari waits for its layer."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import napari
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QEventLoop, QThread, QTimer

from napari_mtlpath.slides.source import SlideError
from napari_mtlpath.viewer.binding import session_of
from napari_mtlpath.viewer.layers.slide_layer import slide_layer_data
from napari_mtlpath.viewer.worker import run

if TYPE_CHECKING:
    from napari_mtlpath.session.session import Session
    from napari_mtlpath.slides.slide import Slide

PATIENCE_S = 5.0
"""How long a user in front of the window waits for a reader; from slower storage the slide appears later."""

LayerData = tuple[Any, ...]
Layers = list[LayerData]


def layers_of(open_it: "Callable[[Session | None], Slide]", *, what: str, meanwhile: Layers | None = None) -> Layers:
    """Return the layer of a slide.

    napari's readers have to return what they read. A script that calls ``viewer.open`` before the event loop runs gets
    the layer, however long that takes. In a running window (drag and drop, the menus) the window is repainted
    meanwhile, and after :data:`PATIENCE_S` the user is told that the slide will come: then `meanwhile` is returned, and
    the slide's layer is added when it is there.

    Parameters
    ----------
    open_it
        Opens the slide, in a thread. It is given the session of the present viewer, or None without a viewer.
    what
        What is being opened, for the user.
    meanwhile
        What to show until a slow slide is there; it is recognised, and removed, by its name.

    Raises
    ------
    SlideError, OSError
        If the verdict comes soon and it is that there is no slide. A late verdict is told as a notification.
    """
    viewer = napari.current_viewer()
    session = session_of(viewer) if viewer is not None else None
    opening = _Opening(lambda: open_it(session), busy=session.working(f"Opening {what}") if session else nullcontext())
    if viewer is None or session is None or not _somebody_waits():
        opening.wait(None)
    elif not opening.wait_alive(PATIENCE_S):
        show_info(f"{what[:1].upper()}{what[1:]} is not there yet. It appears as soon as it is.")
        waiting = {options["name"] for _, options, _ in meanwhile or ()}
        _attach_later(opening, session, viewer, waiting)
        return meanwhile or []
    if opening.error is not None:
        raise opening.error
    return [slide_layer_data(opening.slide)] if opening.slide is not None else []


def _somebody_waits() -> bool:
    """Whether a user sits before a running window, and not a script that goes on with the layer."""
    return QThread.currentThread().loopLevel() > 0


def _attach_later(opening: "_Opening", session: "Session", viewer: "napari.Viewer", waiting: set[str]) -> None:
    def attach(_: object) -> None:
        if session.closed:
            if opening.slide is not None:
                opening.slide.close()
            return
        for layer in [layer for layer in viewer.layers if layer.name in waiting]:
            viewer.layers.remove(layer)
        if opening.slide is not None:
            session.attach_slide(opening.slide)  # the binding adds the layer
        elif opening.error is not None:
            show_error(str(opening.error))

    run(lambda: opening.wait(None), on_done=attach)


class _Opening:
    """A slide that is being opened in a thread.

    Parameters
    ----------
    open_it
        Opens the slide.
    busy
        A context that lasts as long as the opening.
    """

    def __init__(self, open_it: "Callable[[], Slide]", *, busy: Any) -> None:  # noqa: ANN401 - a context manager
        self._open_it = open_it
        self._busy = busy
        self.slide: Slide | None = None
        self.error: SlideError | OSError | None = None
        self._thread = threading.Thread(target=self._open, name="mtlpath-open", daemon=True)
        self._thread.start()

    def wait(self, seconds: float | None) -> bool:
        """Wait for the verdict; return whether it is there."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def wait_alive(self, seconds: float) -> bool:
        """Wait for the verdict while the window is repainted; return whether it is there.

        What the user does with mouse and keys meanwhile is done afterwards, so that nothing changes under the reader.
        """
        loop, look, end = QEventLoop(), QTimer(), QTimer()
        look.timeout.connect(lambda: loop.quit() if not self._thread.is_alive() else None)
        look.start(LOOK_MS)
        end.setSingleShot(True)
        end.timeout.connect(loop.quit)
        end.start(round(seconds * 1000))
        if self._thread.is_alive():
            loop.exec(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)
        return not self._thread.is_alive()

    def _open(self) -> None:
        try:
            with self._busy:
                self.slide = self._open_it()
        except (SlideError, OSError) as error:
            self.error = error


LOOK_MS = 5
"""How often a waiting reader looks whether the slide is there."""
