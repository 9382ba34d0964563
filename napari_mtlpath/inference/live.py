"""Live analysis: the tiles in view first, then the rest of the tissue, while the view moves."""

import threading
import time
from collections.abc import Callable

from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.inference.desk import Desk
from napari_mtlpath.inference.encode import default_readers
from napari_mtlpath.inference.inputs import AnalysedSlide, AnalysisModel
from napari_mtlpath.inference.live_report import LiveReport, LiveState
from napari_mtlpath.inference.live_run import LiveRun
from napari_mtlpath.inference.plan import grid_for
from napari_mtlpath.inference.schedule import View
from napari_mtlpath.inference.threads import start_thread

__all__ = ["LiveAnalysis", "LiveReport", "LiveState"]

IDLE_SECONDS = 1.0


class LiveAnalysis:
    """Analyses a slide in the background, where the user looks first. Every method returns at once.

    One inference thread owns the model; reader threads fetch tiles. `on_report` is called from the inference thread, at
    most ten times a second apart from the last word, never after :meth:`close` has returned.

    Parameters
    ----------
    slide, model
        What is analysed, with what.
    store
        Where embeddings are kept.
    on_report
        Is given every report; must not block for long.
    readers
        Number of reader threads; None: as fits the machine.
    clock
        The time in seconds.
    idle_after
        Seconds without a new view after which the rest of the tissue follows.

    Raises
    ------
    ValueError
        If the slide's microns per pixel are unknown, or no tile fits.
    """

    def __init__(
        self,
        slide: AnalysedSlide,
        model: AnalysisModel,
        *,
        store: FeatureStore,
        on_report: Callable[[LiveReport], None],
        readers: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        idle_after: float = IDLE_SECONDS,
    ) -> None:
        self.slide = slide
        self.model = model
        self.grid = grid_for(slide, model)
        self._store = store
        self._on_report = on_report
        self._readers = readers or default_readers(model.device)
        self._clock = clock
        self._idle_after = idle_after
        self._closed = threading.Event()
        self._view: View | None = None
        self._judge: AnalysisModel | None = None
        self._paused = False
        self._threads: list[threading.Thread] = []
        self._begin()

    def look_at(self, y0: float | int, x0: float | int, y1: float | int, x1: float | int) -> None:
        """Say which rectangle is visible, in level-0 pixels."""
        self._view = (float(y0), float(x0), float(y1), float(x1))
        if self._desk.look_at(self._view):
            self._run.moved = True

    def pause(self) -> None:
        """Finish the batch at hand and wait."""
        self._paused = True
        self._desk.pause(True)

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        self._desk.pause(False)

    def preview(self, model: AnalysisModel | None) -> None:
        """Let another model judge the tiles known so far, and those to come; None: the analysis' own model again.

        Nothing is read or encoded for it: the bag in memory is aggregated anew, also while the analysis is paused.

        Raises
        ------
        ValueError
            If its encoder is another one, so that the embeddings mean nothing to it.
        """
        if model is not None and model.encoder.digest != self.model.encoder.digest:
            raise ValueError(
                f"Model {model.card.name!r} reads features of {model.encoder.name!r}; this analysis has those of "
                f"{self.model.encoder.name!r}. Load the model instead."
            )
        self._judge = model
        self._run.preview(model)

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
        self._run = LiveRun(
            self.slide,
            self.model,
            self._desk,
            store=self._store,
            emit=self._emit,
            clock=self._clock,
            judge=self._judge,
        )
        run, desk = self._run, self._desk
        self._threads.append(start_thread("mtlpath-inference", run.infer, on_failure=run.fail))
        for number in range(self._readers):
            self._threads.append(start_thread(f"mtlpath-reader-{number}", run.read, on_failure=desk.fail))

    def _emit(self, report: LiveReport) -> None:
        if not self._closed.is_set():
            self._on_report(report)
