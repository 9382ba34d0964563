"""The one thread in which a session trains: one thing after the other, waited for and ended."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class RunThread:
    """A thread that is there when it is needed; any thread may give it work.

    Parameters
    ----------
    name
        Of the thread.

    Examples
    --------
    >>> thread, done = RunThread("mtlpath-example"), []
    >>> thread.submit(lambda: done.append(1))
    >>> thread.settle()
    >>> done
    [1]
    >>> thread.end()
    """

    def __init__(self, name: str) -> None:
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it takes no more work."""
        return self._closed

    def submit(self, job: Callable[[], None]) -> None:
        """Do something after what was asked for before; ignored once closed."""
        with self._lock:
            if not self._closed:
                self._pool.submit(job)

    def settle(self, timeout: float | None = None) -> None:
        """Wait until what was asked for so far has ended; for command lines and tests, not for the GUI."""
        with self._lock:
            waiting = None if self._closed else self._pool.submit(lambda: None)
        if waiting is not None:
            waiting.result(timeout)

    def refuse(self) -> None:
        """Take no more work; what was asked for goes on."""
        with self._lock:
            self._closed = True

    def end(self, *, wait: bool = True) -> None:
        """Take no more work, and wait until what was asked for has ended, unless it may go on alone. Idempotent."""
        self.refuse()
        self._pool.shutdown(wait=wait)
