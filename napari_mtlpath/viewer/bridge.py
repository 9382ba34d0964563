"""Brings a session's news to the GUI thread as Qt signals."""

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_mtlpath.viewer.gui_time import gui_span
from napari_mtlpath.viewer.mailbox import Mailbox

if TYPE_CHECKING:
    from napari_mtlpath.session.session import Session

NEWS = (
    "slide_changed",
    "model_changed",
    "report_changed",
    "resolution_changed",
    "tasks_changed",
    "message",
    "overlay_changed",
    "teaching_changed",
    "training_changed",
    "models_changed",
    "labels_changed",
    "busy_changed",
)
"""The session's signals; a bridge has Qt signals of the same names."""


class Bridge(QObject):
    """Emits in the GUI thread, a moment later, what the session emits in any thread.

    Parameters
    ----------
    session
        Whose news.
    parent
        The bridge closes when this object is destroyed.
    """

    slide_changed = Signal(object)
    model_changed = Signal(object)
    report_changed = Signal(object)
    resolution_changed = Signal(object)
    tasks_changed = Signal()
    message = Signal(object)
    overlay_changed = Signal(object)
    teaching_changed = Signal(object)
    training_changed = Signal(object)
    models_changed = Signal()
    labels_changed = Signal()
    busy_changed = Signal(object)

    def __init__(self, session: "Session", parent: QObject | None = None) -> None:
        super().__init__()  # Not a Qt child: threads may be posting while Qt destroys the parent.
        mailbox: Mailbox[tuple[str, tuple[Any, ...]]] = Mailbox(self._emit)
        self._mailbox = mailbox
        self._connections = {name: partial(_post, mailbox, name) for name in NEWS}
        self._session = session
        for name, receiver in self._connections.items():
            getattr(session, name).connect(receiver)
        if parent is not None:
            parent.destroyed.connect(self.close)

    def close(self) -> None:
        """Emit nothing any more. Closing twice is harmless."""
        if self._mailbox.closed:
            return
        self._mailbox.close()
        for name, receiver in self._connections.items():
            getattr(self._session, name).disconnect(receiver)

    def _emit(self, news: tuple[str, tuple[Any, ...]]) -> None:
        name, arguments = news
        with gui_span(f"news:{name}"):
            getattr(self, name).emit(*arguments)


def _post(mailbox: Mailbox[tuple[str, tuple[Any, ...]]], name: str, *arguments: object) -> None:
    mailbox.post((name, arguments))
