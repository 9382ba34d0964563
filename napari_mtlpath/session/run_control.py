"""What a user wants of something that runs in a thread: to wait, to finish soon, to stop."""

import threading
from collections.abc import Callable


class RunStopped(Exception):
    """The user stopped a run."""


class RunControl:
    """The wishes of the user; every method may be called by any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pausing = self._finishing = self._stopped = False

    def pause(self, pausing: bool) -> None:
        """Hold the run, or let it go on."""
        with self._changed:
            self._pausing = pausing
            self._changed.notify_all()

    def finish(self) -> None:
        """End the run soon, and keep what it has."""
        with self._changed:
            self._finishing, self._pausing = True, False
            self._changed.notify_all()

    def take_finish(self) -> bool:
        """Return whether the run is to end soon, once for each time that it was asked for."""
        with self._changed:
            asked, self._finishing = self._finishing, False
            return asked

    def stop(self) -> None:
        """End the run after the step at hand."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @property
    def stopped(self) -> bool:
        """Whether the run is to end."""
        return self._stopped

    def check(self) -> None:
        """Raise RunStopped if the run is to end."""
        if self._stopped:
            raise RunStopped

    def hold(self, tell: Callable[[bool], None]) -> None:
        """Wait while the user holds the run.

        Parameters
        ----------
        tell
            Called with whether it is held: when that begins, and when the run goes on.

        Raises
        ------
        RunStopped
            If the run is to end.
        """
        if self._pausing:
            tell(True)
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or not self._pausing)
            if not self._stopped:
                tell(False)
        self.check()
