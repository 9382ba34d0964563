"""The docks' keys: bound while a dock is open, given back when the last one closes."""

from typing import Any
from weakref import WeakKeyDictionary, ref

from napari_mtlpath.session.session import Session

PAUSE_KEY = "K"
RERUN_KEY = "Shift-K"
HIDE_KEY = "H"
TASK_KEY = "N"
UNDO_KEY = "Control-Z"
REDO_KEY = "Control-Shift-Z"
"""None of them is a key of napari's viewer or image layers; 1 to 9 choose a layer's mode there."""

_open: "WeakKeyDictionary[Session, int]" = WeakKeyDictionary()
"""How many docks of a session hold its keys."""


def key_words(key: str) -> str:
    """Return a key as people write it.

    Examples
    --------
    >>> key_words("Control-Shift-Z")
    'Ctrl+Shift+Z'
    """
    return key.replace("Control", "Ctrl").replace("-", "+")


def docks_open(session: Session) -> bool:
    """Whether a dock of this session is part of a window, so that what the session says is read."""
    return _open.get(session, 0) > 0


class KeyHold:
    """One dock's wish for the keys: bound while at least one dock of the viewer holds them.

    Parameters
    ----------
    viewer
        The viewer, of which a weak reference is kept.
    session
        What the keys act on.
    """

    def __init__(self, viewer: Any, session: Session) -> None:  # noqa: ANN401 - a viewer or its proxy
        self._viewer = ref(getattr(viewer, "__wrapped__", viewer))
        self._session = ref(session)
        self._held = False

    def hold(self) -> None:
        """Bind the keys, unless they are. Holding twice is harmless."""
        viewer, session = self._viewer(), self._session()
        if self._held or viewer is None or session is None:
            return
        self._held = True
        _open[session] = _open.get(session, 0) + 1
        if _open[session] == 1:
            weak = self._session
            for key, act in _ACTIONS.items():
                viewer.bind_key(key, lambda _, act=act: _act(weak, act), overwrite=True)

    def release(self, _: object = None) -> None:
        """Give the keys back, unless another dock holds them. Releasing twice is harmless."""
        viewer, session = self._viewer(), self._session()
        if not self._held or viewer is None or session is None:
            return
        self._held = False
        _open[session] -= 1
        if _open[session] == 0:
            for key in _ACTIONS:
                viewer.bind_key(key, None, overwrite=True)


def _act(session: "ref[Session]", act: Any) -> None:  # noqa: ANN401
    living = session()
    if living is not None and not living.closed:
        act(living)


def _pause(session: Session) -> None:
    if session.paused:
        session.resume()
    else:
        session.pause()


def _next_task(session: Session) -> None:
    names = [task.name for task in session.tasks]
    if names:
        present = names.index(session.overlay.task) if session.overlay.task in names else -1
        session.set_overlay(task=names[(present + 1) % len(names)])


_ACTIONS = {
    PAUSE_KEY: _pause,
    RERUN_KEY: Session.rerun,
    HIDE_KEY: lambda session: session.set_overlay(visible=not session.overlay.visible),
    TASK_KEY: _next_task,
    UNDO_KEY: lambda session: session.labels.undo(),
    REDO_KEY: lambda session: session.labels.redo(),
}
