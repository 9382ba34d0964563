"""Writes labels to the journal as they are made, and hears of those that other windows make, on one thread."""

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from napari_mtlpath.review.events import LabelEvent
from napari_mtlpath.review.journal import Entry, Journal, JournalError
from napari_mtlpath.review.rescue import bring_back, rescue

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How often it is looked whether another window has written something."""

RETRY_SECONDS = 3.0
"""After how long writing is tried again where the disk refused."""


class LabelWriter:
    """The journal's thread. It starts with the first thing to do; every method but :meth:`close` returns at once.

    Parameters
    ----------
    on_entries
        Called with what is new in the journal, from this thread; once also where there is nothing in it yet.
    on_trouble
        Called with a sentence when the disk refuses, once per stretch of refusals, and with an empty one when all is
        written again.
    path
        The journal's file.
    """

    def __init__(
        self,
        *,
        on_entries: Callable[[Sequence[Entry]], None],
        on_trouble: Callable[[str], None],
        path: Path | None = None,
    ) -> None:
        self._on_entries = on_entries
        self._on_trouble = on_trouble
        self._path = path
        self._wake = threading.Condition()
        self._jobs: deque[Callable[[], object]] = deque()
        self._unwritten: deque[LabelEvent] = deque()
        self._thread: threading.Thread | None = None
        self._journal: Journal | None = None
        self._latest = -1
        self._working = True  # until the first turn has ended
        self._troubled = False
        self._closing = False

    def start(self) -> None:
        """Read the journal, if that was not done yet."""
        with self._wake:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="mtlpath-labels", daemon=True)
                self._thread.start()

    def write(self, events: Sequence[LabelEvent]) -> None:
        """Write events after everything asked for before."""
        with self._wake:
            self._unwritten.extend(events)
            self._wake.notify_all()
        self.start()

    def do(self, job: Callable[[], object]) -> None:
        """Run a short job on this thread; what it raises goes to the log."""
        with self._wake:
            if not self._closing:
                self._jobs.append(job)
                self._wake.notify_all()
        self.start()

    def settle(self, timeout: float = 10.0) -> bool:
        """Wait until everything asked for so far was done or refused; return whether it was in time."""
        self.start()
        with self._wake:
            return self._wake.wait_for(self._at_rest, timeout)

    def close(self, timeout: float = 10.0) -> tuple[LabelEvent, ...]:
        """Write what is left and end the thread; what the disk refuses is kept elsewhere and found at the next start.

        Returns
        -------
        The events that no place took.
        """
        with self._wake:
            self._closing = True
            self._jobs.clear()
            self._wake.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        left = tuple(self._unwritten)
        if not left or self._path is not None:
            return left
        try:
            path = rescue(left)
        except OSError as error:
            logger.error("Labels are lost: %s", error)
            return left
        logger.warning("The disk refuses %d labels: they are in %s, and back at the next start.", len(left), path)
        return ()

    def _at_rest(self) -> bool:
        written = not self._unwritten or self._troubled
        return self._thread is None or (self._latest >= 0 and written and not self._jobs and not self._working)

    def _run(self) -> None:
        try:
            while not self._closing:
                self._turn()
                with self._wake:
                    self._working = False
                    self._wake.notify_all()
                    due = bool(self._jobs) or (bool(self._unwritten) and not self._troubled) or self._closing
                    if not due:
                        self._wake.wait(RETRY_SECONDS if self._troubled else LOOK_SECONDS)
                    self._working = True
            self._write()
        finally:
            with self._wake:
                self._working = False
                self._wake.notify_all()
            if self._journal is not None:
                self._journal.close()

    def _turn(self) -> None:
        """Write, look, and do the next job: writing comes before anything else each time."""
        self._write()
        self._look()
        with self._wake:
            job = self._jobs.popleft() if self._jobs else None
        if job is not None:
            try:
                job()
            except (OSError, RuntimeError, ValueError, AttributeError):
                logger.exception("A job of the labels failed")

    def _write(self) -> None:
        with self._wake:
            events = tuple(self._unwritten)
        if not events:
            return
        try:
            self._opened().append(events)
        except OSError as error:
            self._complain(error, len(events))
            return
        with self._wake:
            for _ in events:
                self._unwritten.popleft()
        if self._troubled:
            self._troubled = False
            self._on_trouble("")

    def _look(self) -> None:
        first = self._latest < 0
        entries: tuple[Entry, ...] = ()
        try:
            journal = self._opened()
            if first or journal.latest() > self._latest:
                entries = journal.read(after=max(self._latest, 0))
        except OSError as error:
            if first:
                self._complain(error, len(self._unwritten))
        self._latest = max(0, self._latest, *(entry.number for entry in entries))
        if entries or first:
            self._on_entries(entries)

    def _opened(self) -> Journal:
        if self._journal is None:
            self._journal = Journal(self._path)
            if self._journal.notice:
                self._on_trouble(self._journal.notice)
            if self._path is None:
                self._bring_back(self._journal)
        return self._journal

    def _bring_back(self, journal: Journal) -> None:
        """Take what a full disk had refused at the end of an earlier program; what cannot be taken stays there."""
        try:
            count = bring_back(journal)
        except OSError as error:
            logger.warning("Rescued labels could not be taken into the journal: %s", error)
            return
        if count:
            logger.info("%d rescued labels are in the journal now.", count)

    def _complain(self, error: OSError, count: int) -> None:
        if self._troubled:
            return
        self._troubled = True
        kept = f" {count} of your labels are kept in memory and written as soon as that works." if count else ""
        reason = str(error) if isinstance(error, JournalError) else f"Labels cannot be saved: {error}."
        with contextlib.suppress(RuntimeError):
            self._on_trouble(f"{reason}{kept}")
