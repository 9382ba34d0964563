"""The one way from any thread to the GUI thread."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from qtpy.QtCore import QCoreApplication, QObject, Qt, Signal

Item = TypeVar("Item")


_closing: dict[int, "_Post"] = {}
"""Receiving ends that wait to be deleted by the GUI thread: no other thread may be the last to hold one."""


class _Post(QObject):
    """The receiving end: lives in the GUI thread, whichever thread made it."""

    arrived = Signal(object)

    def __init__(self, deliver: Callable[[object], None]) -> None:
        super().__init__()
        self._deliver = deliver
        self.arrived.connect(self._hand_over, Qt.ConnectionType.QueuedConnection)
        application = QCoreApplication.instance()
        if application is not None:
            self.moveToThread(application.thread())

    def _hand_over(self, item: object) -> None:
        self._deliver(item)


class Mailbox(Generic[Item]):
    """Hands items posted by any thread to a function in the GUI thread, in order, always through the event queue.

    Nothing is delivered after :meth:`close`. The Qt object behind it is deleted by the GUI thread and only after no
    thread can be posting any more: a signal whose receiver is gone has crashed viewers.

    Parameters
    ----------
    deliver
        Called in the GUI thread with each item.
    """

    def __init__(self, deliver: Callable[[Item], None]) -> None:
        self._deliver = deliver
        self._lock = threading.Lock()
        self._closed = False
        self._post = _Post(self._hand_over)

    @property
    def closed(self) -> bool:
        """Whether nothing is delivered any more."""
        return self._closed

    def post(self, item: Item) -> None:
        """Queue an item; ignored once closed. Never waits for the GUI thread."""
        with self._lock:
            if not self._closed:
                self._post.arrived.emit(item)

    def close(self) -> None:
        """Deliver nothing any more, not even what is queued. Closing twice is harmless."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            post = self._post
        try:
            post.destroyed.connect(partial(_closing.pop, id(post), None))
        except RuntimeError:  # The program is ending and Qt has taken the object away already.
            return
        _closing[id(post)] = post
        post.deleteLater()

    def _hand_over(self, item: object) -> None:
        if not self._closed:
            self._deliver(item)  # type: ignore[arg-type]  # what was posted is what arrives
