"""Ends a process whose work gives no sign of life: a decoder that hangs cannot be stopped in any other way."""

import os
import signal
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self


class Watchdog:
    """Watches work in another thread of its process; when it is silent for too long, says so and kills the process.

    Parameters
    ----------
    claim
        File that the reason is appended to; what is left there is read by whoever misses the process.
    patience
        Seconds between two calls of :meth:`alive` after which the work counts as hanging.
    """

    def __init__(self, claim: Path, patience: float) -> None:
        self._claim = claim
        self._patience = patience
        self._last = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="mtlpath-watchdog", daemon=True)

    def alive(self) -> None:
        """Note that the work goes on."""
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        self.alive()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(max(0.01, self._last + self._patience - time.monotonic())):
            if time.monotonic() - self._last > self._patience:
                with self._claim.open("a", encoding="utf-8") as file:
                    file.write(f"Nothing was heard of it for {self._patience:g} s, so its process was ended.\n")
                os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
                return
