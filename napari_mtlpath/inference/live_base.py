"""What every live analysis has: threads that read and think, and verbs that return at once."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from napari_mtlpath.inference.desk import Desk
from napari_mtlpath.inference.inputs import AnalysedSlide, AnalysisModel
from napari_mtlpath.inference.live_cycle import LiveCycle
from napari_mtlpath.inference.live_report import LiveReport
from napari_mtlpath.inference.schedule import View
from napari_mtlpath.inference.threads import start_thread
from napari_mtlpath.tiles.grid import TileGrid

IDLE_SECONDS = 1.0


class TiledAnalysis(ABC):
    """Analyses a slide in the background, where the user looks first. Every method returns at once.

    One inference thread owns the model; reader threads fetch tiles. `on_report` is called from the inference thread, at
    most ten times a second apart from the last word, never after :meth:`close` has returned.

    Parameters
    ----------
    slide
        What is analysed.
    grid
        Its tiles.
    readers
        Number of reader threads.
    on_report
        Is given every report; must not block for long.
    clock
        The time in seconds.
    idle_after
        Seconds without a new view after which the rest of the tissue follows.
    """

    def __init__(
        self,
        slide: AnalysedSlide,
        grid: TileGrid,
        *,
        readers: int,
        on_report: Callable[[LiveReport], None],
        clock: Callable[[], float] = time.monotonic,
        idle_after: float = IDLE_SECONDS,
    ) -> None:
        self.slide = slide
        self.grid = grid
        self._on_report = on_report
        self._readers = readers
        self._clock = clock
        self._idle_after = idle_after
        self._closed = threading.Event()
        self._view: View | None = None
        self._paused = False
        self._explaining = False
        self._threads: list[threading.Thread] = []

    @abstractmethod
    def _new_cycle(self, desk: Desk) -> LiveCycle:
        """Return what the threads do from now on."""

    def can_preview(self, model: AnalysisModel) -> bool:
        """Whether :meth:`preview` can let a model judge in place of the analysis' own."""
        return False

    def preview(self, model: AnalysisModel | None) -> None:
        """Let another model judge the tiles known so far, where that is possible; None: the analysis' own again.

        Raises
        ------
        ValueError
            If it is not possible.
        """
        if model is not None:
            raise ValueError(
                f"Model {model.card.name!r} cannot judge what this analysis keeps. Load the model instead."
            )

    def look_at(self, y0: float | int, x0: float | int, y1: float | int, x1: float | int) -> None:
        """Say which rectangle is visible, in level-0 pixels."""
        self._view = (float(y0), float(x0), float(y1), float(x1))
        if self._desk.look_at(self._view):
            self._cycle.moved = True

    def explain(self, wanted: bool) -> None:
        """Say whether maps of attention are looked at: an analysis that makes them for that alone makes them then."""
        self._explaining = wanted
        self._cycle.explaining = wanted
        self._desk.wake()

    def pause(self) -> None:
        """Finish the batch at hand and wait."""
        self._paused = True
        self._desk.pause(True)

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        self._desk.pause(False)

    def rerun(self) -> None:
        """Compute everything anew; after a failure, go on with what is known."""
        if self._closed.is_set():
            return
        if self._desk.halted:
            self._begin()
        else:
            self._desk.ask_restart()

    def close(self, timeout: float = 5.0) -> bool:
        """End all threads.

        Returns
        -------
        Whether they ended in time; one that hangs in a read ends when the read does, and reports nothing.
        """
        self._closed.set()
        self._desk.halt()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads if thread is not threading.current_thread())

    def _begin(self) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._desk = Desk(self.grid, clock=self._clock, idle_after=self._idle_after, readers=self._readers)
        self._desk.pause(self._paused)
        if self._view is not None:
            self._desk.look_at(self._view)
        self._cycle = cycle = self._new_cycle(self._desk)
        cycle.explaining = self._explaining
        desk = self._desk
        self._threads.append(start_thread("mtlpath-inference", cycle.infer, on_failure=cycle.fail))
        for number in range(self._readers):
            self._threads.append(start_thread(f"mtlpath-reader-{number}", cycle.read, on_failure=desk.fail))

    def _emit(self, report: LiveReport) -> None:
        if not self._closed.is_set():
            self._on_report(report)
