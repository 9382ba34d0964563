"""Keeps at most one live analysis running, the right one, without ever making its caller wait."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias, cast

from napari_mtlpath.inference.pixels.answers import answers_pixels

if TYPE_CHECKING:
    from napari_mtlpath.features.store import FeatureStore
    from napari_mtlpath.inference.live_base import TiledAnalysis
    from napari_mtlpath.inference.live_report import LiveReport
    from napari_mtlpath.inference.pixels.shelf import MapsShelf
    from napari_mtlpath.slides.slide import Slide
    from napari_mtlpath.zoo.any_model import AnyModel
    from napari_mtlpath.zoo.model import SlideModel
    from napari_mtlpath.zoo.pixel_model import PixelModel

logger = logging.getLogger(__name__)

Rect: TypeAlias = tuple[float, float, float, float]
"""A rectangle on the slide as (y0, x0, y1, x1) in level-0 pixels."""

CLOSING_SECONDS = 5.0
"""How long an analysis may take to finish the tile that it is at when it is closed."""

AnalysisMaker: TypeAlias = "Callable[[Slide, AnyModel, Callable[[LiveReport], None]], TiledAnalysis]"
"""Starts an analysis of a slide with a model that reports to a callback from its own thread."""


class AnalysisKeeper:
    """Starts, steers and ends analyses on one background thread, in the order in which they were asked for.

    Each start gets a new token. What an analysis reports carries the token it was started with, so that the owner
    can drop what a slide or model of before still has to say.

    Parameters
    ----------
    make
        Starts an analysis; called on the background thread.
    on_report
        Called with a token and a report, from the analysis' thread.
    on_failure
        Called with a token and a sentence when an analysis could not be started, from the background thread.
    """

    def __init__(
        self,
        *,
        make: AnalysisMaker,
        on_report: "Callable[[int, LiveReport], None]",
        on_failure: Callable[[int, str], None],
    ) -> None:
        self._make = make
        self._on_report = on_report
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._steward = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mtlpath-session")
        self._live: TiledAnalysis | None = None
        self._token = 0
        self._rect: Rect | None = None
        self._preview: SlideModel | None = None
        self._explaining = False
        self._paused = False
        self._closed = False

    @property
    def live(self) -> "TiledAnalysis | None":
        """The running analysis; None before it has started and while there is nothing to analyse."""
        return self._live

    @property
    def token(self) -> int:
        """The token of what was asked for last."""
        return self._token

    @property
    def paused(self) -> bool:
        """Whether the user holds the analysis, also the ones to come."""
        return self._paused

    def replace(self, slide: "Slide | None", model: "AnyModel | None") -> int:
        """End the running analysis and, if there is both a slide and a model, start a new one; return its token."""
        with self._lock:
            self._token += 1
            token, old = self._token, self._live
            self._live = None
        self.do(lambda: self._turn(token, old, slide, model))
        return token

    def do(self, job: Callable[[], object]) -> None:
        """Run a short job on the background thread after everything asked for before; ignored once closed.

        When Python itself is ending there are no new jobs for threads: the job then runs here.
        """
        with self._lock:
            if self._closed:
                return
            try:
                self._steward.submit(_logged, job)
                return
            except RuntimeError:
                logger.debug("Python is ending: no background thread takes a job any more.")
        _logged(job)

    def look_at(self, rect: Rect | None) -> None:
        """Tell the analysis, now or when it starts, which part of the slide is visible; None forgets it."""
        self._rect = rect
        live = self._live
        if live is not None and rect is not None:
            live.look_at(*rect)

    def preview(self, model: "SlideModel | None") -> None:
        """Let another model judge the tiles of the analysis, now or when it starts; None ends that."""
        with self._lock:
            self._preview = model
            live = self._live
        if live is not None:
            live.preview(model)

    def explain(self, wanted: bool) -> None:
        """Tell the analysis, now or when it starts, whether maps of attention are looked at."""
        with self._lock:
            changed, self._explaining = wanted is not self._explaining, wanted
            if changed and self._live is not None:
                self._live.explain(wanted)

    def pause(self) -> None:
        """Hold the analysis after the batch that it is at."""
        self._paused = True
        if (live := self._live) is not None:
            live.pause()

    def resume(self) -> None:
        """Let the analysis go on."""
        self._paused = False
        if (live := self._live) is not None:
            live.resume()

    def rerun(self) -> None:
        """Let the analysis compute everything again."""
        if (live := self._live) is not None:
            live.rerun()

    def settle(self, timeout: float | None = None) -> None:
        """Wait until everything asked for so far has been done; for command lines and tests, not for the GUI."""
        with self._lock:
            waiting = None if self._closed else self._steward.submit(lambda: None)
        if waiting is not None:
            waiting.result(timeout)

    def close(self, last: Callable[[], object]) -> None:
        """End the analysis, run `last` after it, and wait until the background thread is gone."""
        self.replace(None, None)
        self.do(last)
        with self._lock:
            self._closed = True
        self._steward.shutdown(wait=True)

    def _turn(self, token: int, old: "TiledAnalysis | None", slide: "Slide | None", model: "AnyModel | None") -> None:
        if old is not None:
            old.close(timeout=CLOSING_SECONDS)
        if slide is None or model is None or token != self._token:
            return
        try:
            live = self._make(slide, model, lambda report: self._on_report(token, report))
        except (OSError, RuntimeError, ValueError) as error:
            logger.exception("The analysis could not be started")
            self._on_failure(token, f"The analysis could not be started. {error}")
            return
        with self._lock:
            stale = token != self._token
            if not stale:
                self._live, preview = live, self._preview
                if self._explaining:
                    live.explain(True)
        if stale:
            live.close(timeout=CLOSING_SECONDS)
            return
        if preview is not None and live.can_preview(preview):
            live.preview(preview)
        if self._paused:
            live.pause()
        if self._rect is not None:
            live.look_at(*self._rect)


def live_analysis(store: "Callable[[], FeatureStore]", shelf: "Callable[[], MapsShelf] | None" = None) -> AnalysisMaker:
    """Return what starts the analysis that fits a model.

    Parameters
    ----------
    store
        Asked at each start of an analysis with embeddings: where they are kept.
    shelf
        Asked at each start of one pixel by pixel: where its answers go when another model takes its place.
    """

    def make(slide: "Slide", model: "AnyModel", on_report: "Callable[[LiveReport], None]") -> "TiledAnalysis":
        if answers_pixels(model):
            from napari_mtlpath.inference.pixels.live import PixelAnalysis

            kept = shelf() if shelf is not None else None
            return PixelAnalysis(slide, cast("PixelModel", model), on_report=on_report, shelf=kept)
        from napari_mtlpath.inference.live import LiveAnalysis

        return LiveAnalysis(slide, cast("SlideModel", model), store=store(), on_report=on_report)

    return make


def _logged(job: Callable[[], object]) -> None:
    """Run a job of the background thread; nobody waits for its future, so what it raises goes to the log."""
    try:
        job()
    except (OSError, RuntimeError, ValueError):
        logger.exception("A background job of the session failed")
