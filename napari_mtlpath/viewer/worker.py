"""Runs slow work in a thread of its own, and brings its results, or one sentence about its failure, to the GUI."""

import logging
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

from napari.utils.notifications import show_error

from napari_mtlpath.viewer.mailbox import Mailbox

logger = logging.getLogger(__name__)

Task: TypeAlias = Callable[[], Any] | Generator[Any, None, Any]
"""A function without arguments, or a generator of reports."""

_running: set["Job"] = set()
"""Jobs keep themselves alive until their last word has been heard."""


@dataclass(frozen=True, kw_only=True)
class _Word:
    kind: str
    value: Any = None


class Job:
    """Work that is going on in a thread. Made by :func:`run`, in the GUI thread.

    All callbacks are called in the GUI thread, and none after :meth:`cancel`.
    """

    def __init__(
        self,
        task: Task,
        *,
        on_done: Callable[[Any], None] | None,
        on_report: Callable[[Any], None] | None,
        on_error: Callable[[Exception], None] | None,
    ) -> None:
        self._task = task
        self._on_done = on_done
        self._on_report = on_report
        self._on_error = on_error
        self._cancelled = threading.Event()
        self._mailbox: Mailbox[_Word] = Mailbox(self._hear)
        self._thread = threading.Thread(target=self._work, name="mtlpath-worker", daemon=True)
        _running.add(self)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the thread is still at it."""
        return self._thread.is_alive()

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked the work to stop; a long function may look at this."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Drop what the work still has to say; a generator is closed at its next report. Never waits."""
        self._cancelled.set()
        self._end()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the thread to end; return whether it has. For closing and for tests."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _end(self) -> None:
        self._mailbox.close()
        _running.discard(self)

    def _hear(self, word: _Word) -> None:
        if word.kind == "report":
            if self._on_report is not None:
                self._on_report(word.value)
            return
        self._end()
        if word.kind == "done" and self._on_done is not None:
            self._on_done(word.value)
        elif word.kind == "error":
            (self._on_error or _tell)(word.value)

    def _work(self) -> None:
        try:
            value = self._run_generator(self._task) if isinstance(self._task, Generator) else self._task()
        except Exception as error:  # the one place: whatever slow work raises is told once, and the viewer lives on
            if not isinstance(error, (OSError, ValueError)):
                logger.exception("Work in the background failed")
            self._mailbox.post(_Word(kind="error", value=error))
        else:
            self._mailbox.post(_Word(kind="done", value=value))

    def _run_generator(self, reports: Generator[Any, None, Any]) -> Any:  # noqa: ANN401 - whatever it returns
        try:
            while not self._cancelled.is_set():
                self._mailbox.post(_Word(kind="report", value=next(reports)))
        except StopIteration as end:
            return end.value
        finally:
            reports.close()
        return None


def run(
    task: Task,
    *,
    on_done: Callable[[Any], None] | None = None,
    on_report: Callable[[Any], None] | None = None,
    on_error: Callable[[Exception], None] | None = None,
) -> Job:
    """Run a function or a generator of reports in a thread. Call it in the GUI thread.

    Parameters
    ----------
    task
        A function without arguments, or a generator; closing the job closes the generator at its next report.
    on_done
        Called with what the function returned, or with the generator's return value.
    on_report
        Called with each thing that the generator yields.
    on_error
        Called with the exception; by default one sentence is shown through napari's notifications.
    """
    return Job(task, on_done=on_done, on_report=on_report, on_error=on_error)


def sentence_of(error: Exception) -> str:
    """Return what a user should read about an exception: its own sentence, or that something unforeseen happened."""
    text = str(error).strip()
    if isinstance(error, (OSError, ValueError)) and text:
        return text
    return f"Something unforeseen happened ({type(error).__name__}: {text}). The details are in napari's log."


def _tell(error: Exception) -> None:
    show_error(sentence_of(error))
