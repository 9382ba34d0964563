"""One run of a training: what was asked for, whether it may go on, and what it has made so far."""

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_mtlpath.tasks import Task
    from napari_mtlpath.training.teaching.config import TeachConfig
    from napari_mtlpath.zoo.model import SlideModel


class TeachingStopped(Exception):
    """The user stopped the training."""


class TeachingRun:
    """The wishes of the user and what the thread has made of them; every method may be called by any thread.

    Parameters
    ----------
    parent
        The model that is taught, which stays as it is.
    config
        How; None where nothing is trained.
    resume
        Whether to go on from a checkpoint.

    Attributes
    ----------
    task
        What is taught, once the labels were read.
    snapshot
        The newest model that may be shown, or None.
    taught
        What the training returned, or None while it has not ended by itself.
    """

    def __init__(self, *, parent: "SlideModel", config: "TeachConfig | None" = None, resume: bool = False) -> None:
        self.parent = parent
        self.config: Any = config
        self.resume = resume
        self.task: Task | None = None
        self.snapshot: SlideModel | None = None
        self.taught: Any = None
        self._changed = threading.Condition()
        self._pausing = False
        self._stopped = False

    @property
    def pausing(self) -> bool:
        """Whether the user holds the training."""
        return self._pausing

    def pause(self, pausing: bool) -> None:
        """Hold the training, or let it go on."""
        with self._changed:
            self._pausing = pausing
            self._changed.notify_all()

    def stop(self) -> None:
        """End the training after the step at hand."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait while the training is held and not stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or not self._pausing)

    def check(self) -> None:
        """Raise TeachingStopped if the training is to end."""
        if self._stopped:
            raise TeachingStopped


def failure_words(error: Exception) -> str:
    """Return what a user should read about a failure: its own sentence, or that something unforeseen happened."""
    text = str(error).strip()
    if isinstance(error, OSError | ValueError | FloatingPointError | MemoryError) and text:
        return text
    return f"Something unforeseen happened ({type(error).__name__}: {text}). The details are in the log."
