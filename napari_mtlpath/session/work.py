"""What a session is busy with, for as long as it takes."""

import contextlib
import threading
from collections.abc import Callable, Iterator


class Work:
    """A stack of things that take a while; any thread may add and end its own.

    Parameters
    ----------
    on_change
        Called with what is shown now, in words, or None, after each change.
    """

    def __init__(self, on_change: Callable[[str | None], None]) -> None:
        self._on_change = on_change
        self._lock = threading.Lock()
        self._stack: list[str] = []

    @property
    def present(self) -> str | None:
        """What was begun last and has not ended, or None."""
        with self._lock:
            return self._stack[-1] if self._stack else None

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Count `what` as going on while the block lasts."""
        with self._lock:
            self._stack.append(what)
        self._on_change(self.present)
        try:
            yield
        finally:
            with self._lock:
                self._stack.remove(what)
            self._on_change(self.present)
