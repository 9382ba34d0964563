"""Events leave a session in the order in which its state changed, whichever threads changed it."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from psygnal import EmitLoopError, SignalInstance

logger = logging.getLogger(__name__)


class Outbox:
    """A queue of events that one thread at a time empties, holding no lock while a receiver runs.

    A receiver may therefore call the session back, wait for other threads, or close everything: nothing that it
    does can block the thread that posts next. An event posted from inside a receiver leaves after the present one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[tuple[SignalInstance, tuple[Any, ...], Callable[[], bool]]] = deque()
        self._emitting = False
        self._closed = False

    def post(self, signal: SignalInstance, *args: object, still: Callable[[], bool] = lambda: True) -> None:
        """Queue an event; the caller may hold locks. Nothing is emitted before :meth:`empty`.

        Parameters
        ----------
        signal, args
            What to emit.
        still
            Asked right before emission; an event that is no longer true is dropped.
        """
        with self._lock:
            if not self._closed:
                self._events.append((signal, args, still))

    def send(self, signal: SignalInstance, *args: object) -> None:
        """Queue an event and empty the queue; call it without holding locks."""
        self.post(signal, *args)
        self.empty()

    def empty(self) -> None:
        """Emit what is queued, unless another thread is at it; call it without holding locks."""
        while True:
            with self._lock:
                if self._emitting or not self._events:
                    return
                self._emitting = True
                signal, args, still = self._events.popleft()
            try:
                if still():
                    signal.emit(*args)
            except EmitLoopError:
                # One receiver's mistake must reach the log, not the thread that happened to bring the news.
                logger.exception("A receiver of %r failed", signal.name)
            finally:
                with self._lock:
                    self._emitting = False

    def close(self) -> None:
        """Drop what is queued and take nothing more."""
        with self._lock:
            self._closed = True
            self._events.clear()
