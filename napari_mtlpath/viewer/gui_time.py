"""Measures how long our own code keeps the GUI thread, for benchmarks; costs nothing while nobody records."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GuiSpan:
    """One stay of our code in the GUI thread.

    Attributes
    ----------
    name
        Which callback.
    start
        When it began, on the clock of ``time.perf_counter``.
    seconds
        How long it took, wall clock.
    cpu_seconds
        How long the thread computed; the same on a machine that is busy with other things.
    """

    name: str
    start: float
    seconds: float
    cpu_seconds: float

    @property
    def end(self) -> float:
        """When it was over."""
        return self.start + self.seconds


_recordings: list[list[GuiSpan]] = []


@contextmanager
def gui_span(name: str) -> Iterator[None]:
    """Time the enclosed code if it runs in the main thread and somebody records."""
    if not _recordings or threading.current_thread() is not threading.main_thread():
        yield
        return
    start, cpu_start = time.perf_counter(), time.thread_time()
    try:
        yield
    finally:
        seconds, cpu_seconds = time.perf_counter() - start, time.thread_time() - cpu_start
        span = GuiSpan(name=name, start=start, seconds=seconds, cpu_seconds=cpu_seconds)
        for recording in _recordings:
            recording.append(span)


@contextmanager
def recorded_gui_spans() -> Iterator[list[GuiSpan]]:
    """Collect the spans of everything that happens inside the ``with`` block.

    Examples
    --------
    >>> with recorded_gui_spans() as spans, gui_span("paint"):
    ...     pass
    >>> spans[0].name
    'paint'
    """
    recording: list[GuiSpan] = []
    _recordings.append(recording)
    try:
        yield recording
    finally:
        _recordings[:] = [other for other in _recordings if other is not recording]
