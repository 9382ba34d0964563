"""The docks' keys: bound while a dock is open, given back when the last one closes."""

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from napari_mtlpath.session.session import Session

if TYPE_CHECKING:
    from qtpy.QtCore import QObject

PAUSE_KEY = "K"
RERUN_KEY = "Shift-K"
HIDE_KEY = "H"
TASK_KEY = "N"
"""None of them is a key of napari's viewer or image layers; 1 to 9 choose a layer's mode there."""

_open: "WeakKeyDictionary[Session, int]" = WeakKeyDictionary()
"""How many docks of a session hold its keys."""


def hold_keys(viewer: Any, session: Session, owner: "QObject") -> None:  # noqa: ANN401 - a viewer or its proxy
    """Bind the keys to a viewer until `owner` is destroyed, and beyond it while another dock holds them.

    Parameters
    ----------
    viewer
        The viewer, of which a weak reference is kept.
    session
        What the keys act on.
    owner
        The dock.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)
    _open[session] = _open.get(session, 0) + 1
    if _open[session] == 1:
        weak = ref(session)
        for key, act in _ACTIONS.items():
            viewer.bind_key(key, lambda _, act=act: _act(weak, act), overwrite=True)
    weak_viewer, weak_session = ref(viewer), ref(session)
    owner.destroyed.connect(lambda: _release(weak_viewer(), weak_session()))


def _release(viewer: Any, session: Session | None) -> None:  # noqa: ANN401
    if viewer is None or session is None:
        return
    _open[session] = _open.get(session, 1) - 1
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
}
