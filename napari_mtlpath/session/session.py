"""What a user works on in one viewer: a slide, a model, and what the model has to say about the slide."""

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mtlpath.session.former import left_behind
from napari_mtlpath.session.holdings import Holdings
from napari_mtlpath.session.keeper import AnalysisKeeper, AnalysisMaker, Rect, live_analysis
from napari_mtlpath.session.labelling import Labelling
from napari_mtlpath.session.messages import Level, Message, standing_notice
from napari_mtlpath.session.opening import open_file
from napari_mtlpath.session.outbox import Outbox
from napari_mtlpath.session.overlay import OverlayChoice, OverlayKind, OverlayMemory
from napari_mtlpath.session.scale import typed_resolution, user_name
from napari_mtlpath.session.state import SessionState
from napari_mtlpath.session.teaching import Teaching
from napari_mtlpath.session.whole_training import WholeTraining
from napari_mtlpath.session.work import Work
from napari_mtlpath.slides.cache import TileCache
from napari_mtlpath.slides.resolution import ResolutionMemory

if TYPE_CHECKING:
    from napari_mtlpath.features.store import FeatureStore
    from napari_mtlpath.inference.live_report import LiveReport
    from napari_mtlpath.slides.slide import Slide
    from napari_mtlpath.tasks import AnyTask
    from napari_mtlpath.zoo.any_model import AnyModel
    from napari_mtlpath.zoo.model import SlideModel


class Session(SessionState):
    """The only living object of the program: one per viewer, told what to do by verbs, heard through signals.

    What a slide or model of before still reports is dropped: it never reaches the state nor a receiver.

    Parameters
    ----------
    cache, store, memory
        As in :class:`~napari_mtlpath.session.holdings.Holdings`.
    analyse
        Starts an analysis; :class:`napari_mtlpath.inference.live.LiveAnalysis` by default.

    Examples
    --------
    >>> session = Session()
    >>> session.set_overlay(opacity=0.4)
    >>> session.overlay.opacity
    0.4
    >>> session.close()
    """

    def __init__(
        self,
        *,
        cache: TileCache | None = None,
        store: "FeatureStore | None" = None,
        memory: ResolutionMemory | None = None,
        analyse: "AnalysisMaker | None" = None,
    ) -> None:
        super().__init__(Holdings(cache=cache, store=store, memory=memory))
        self._lock = threading.RLock()
        self._outbox = Outbox()
        self._overlays = OverlayMemory()
        self._keeper = AnalysisKeeper(
            make=analyse or live_analysis(lambda: self.store, lambda: self._holdings.shelf),
            on_report=self._hear,
            on_failure=self._fail,
        )
        self._backend: dict[str, Any] = {}
        self._work = Work(self._tell_work)
        self._slide_ticket = self._model_ticket = 0
        self.labels = Labelling(self, self._outbox)
        self.teaching = Teaching(self, self._outbox)
        self.training = WholeTraining(self, self._outbox)

    def open_slide(
        self,
        path: Path,
        mpp: "float | tuple[float, float] | None" = None,
        *,
        assumed_mpp: float | None = None,
    ) -> "Slide | None":
        """Open a slide file and work on it, as :func:`~napari_mtlpath.session.opening.open_file` does.

        Blocks: call it from a worker. Returns the slide, or None if the session was closed or asked for another slide
        in the meantime. Raises SlideError or FileNotFoundError where the file cannot be opened; the slide of before
        stays.
        """
        with self._lock:
            self._slide_ticket += 1
            ticket = self._slide_ticket
        with self.working(f"Opening {path.name}"):
            slide = open_file(path, self._holdings, mpp=mpp, assumed_mpp=assumed_mpp)
        return slide if self._attach(slide, ticket) else None

    def attach_slide(self, slide: "Slide") -> None:
        """Work on a slide that is already open; the session closes it when it is done with it."""
        with self._lock:
            ticket = self._slide_ticket = self._slide_ticket + 1
        self._attach(slide, ticket)

    def close_slide(self) -> None:
        """Let go of the slide and free what its tiles and its analysis hold."""
        with self._lock:
            self._slide_ticket += 1
            self._switch_slide(None)
        self._outbox.empty()

    def load_model(self, name: str, *, device: str = "auto", backend: str | None = None) -> "AnyModel | None":
        """Load a model of the zoo, or a model folder, and work with it; a `backend` holds for later models too.

        Blocks: call it from a worker. Returns the model, or None if the session was closed or asked for another model
        in the meantime. Raises ValueError or OSError with one sentence where it cannot be loaded; the model of before
        stays.
        """
        from napari_mtlpath.zoo.any_model import load_any

        with self._lock:
            ticket = self._model_ticket = self._model_ticket + 1
            self._backend = {"backend": backend} if backend is not None else self._backend
        with self.working(f"Loading model {name}"):
            model = load_any(name, device=device, **self._backend)
        with self._lock:
            if self._closed or ticket != self._model_ticket:
                return None
            self._switch_model(model)
        self._outbox.empty()
        return model

    def set_model(self, model: "AnyModel | None") -> None:
        """Work with a model that is already loaded, or with none."""
        with self._lock:
            self._model_ticket += 1
            if not self._closed and model is not self._model:
                self._switch_model(model)
        self._outbox.empty()

    def preview(self, model: "SlideModel | None", *, of: "SlideModel") -> bool:
        """Show what a descendant of the model in use says about the tiles known so far; None ends that.

        Nothing is read or encoded for it. The model in use stays what it is; `tasks` are those of the preview while it
        lasts, which is until the next call or until another model is used.

        Parameters
        ----------
        model
            A model with the same encoder.
        of
            The model that it descends from; where another one is in use, nothing happens.

        Returns
        -------
        Whether something is shown anew.
        """
        with self._lock:
            if self._closed or self._model is not of or (model is None and self._preview is None):
                return False
            self._preview = model
            self._keeper.preview(model)
            if (shown := model or of).tasks != self._tasks:
                self._answer(shown.tasks)
        self._outbox.empty()
        return True

    def look_at(self, rect: Rect) -> None:
        """Tell which part of the slide is visible, as (y0, x0, y1, x1) in level-0 pixels."""
        self._keeper.look_at(rect)

    def pause(self) -> None:
        """Hold the analysis."""
        self._keeper.pause()

    def resume(self) -> None:
        """Let the analysis go on."""
        self._keeper.resume()

    def rerun(self) -> None:
        """Compute everything again, after a look at whether the file on disk is still the one that was opened."""
        self._keeper.do(self._warn_if_replaced)
        self._keeper.rerun()

    def set_mpp(self, value: "float | tuple[float, float]", remember: bool = True) -> None:
        """Set how large a pixel of the slide is and analyse again.

        Parameters
        ----------
        value
            Microns per pixel of level 0, one number or (y, x), 0.05 to 20.
        remember
            Whether this slide keeps the value when it is opened again.

        Raises
        ------
        ValueError
            If the value is not believable or no slide is open.
        """
        resolution = typed_resolution(value, remember=remember)
        with self._lock:
            slide = self._slide
            if slide is None:
                raise ValueError("Microns per pixel belong to a slide; none is open. Open a slide first.")
            slide.with_resolution(resolution)
            if remember and (mpp := resolution.mpp) is not None:
                self._keeper.do(lambda: self._holdings.memory.remember(slide.fingerprint, mpp, user_name()))
            self._outbox.post(self.resolution_changed, resolution)
            self._analyse_anew()
        self._outbox.empty()

    def set_overlay(self, **changes: Any) -> None:  # noqa: ANN401 - the fields of OverlayChoice, checked there
        """Change what is shown on top of the slide; the keywords are the fields of :class:`OverlayChoice`."""
        with self._lock:
            known = {task.name for task in self.tasks}
            if changes.get("task") is not None and changes["task"] not in known:
                raise ValueError(f"The model has no task {changes['task']!r}. Known: {', '.join(sorted(known))}.")
            overlay = self._overlays.changed(self._overlay, changes)
            if self._result is not None and "kind" not in changes:  # another task may have other kinds of pictures
                overlay = self._overlays.presented(overlay, self._result.offered)
            self._show(overlay)
        self._outbox.empty()

    def say(self, level: Level, text: str) -> None:
        """Tell the user something."""
        self._outbox.send(self.message, Message(level=level, text=text))

    def working(self, what: str) -> "contextlib.AbstractContextManager[None]":
        """Show that something takes a while, for as long as the returned context lasts."""
        return self._work.doing(what)

    def settle(self, timeout: float | None = None) -> None:
        """Wait until what was asked for so far has started or ended; for command lines and tests."""
        self._keeper.settle(timeout)

    def close(self) -> None:
        """End everything and wait for it: no thread, no file and no signal of this session is left. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._outbox.close()
            slide = self._slide
            self._slide = self._model = self._preview = self._report = self._result = None
            self._tasks = ()
        self.teaching.close()
        self.training.close()
        self.labels.close()
        self._keeper.close(lambda: self._holdings.close(slide))

    def _attach(self, slide: "Slide", ticket: int) -> bool:
        with self._lock:
            if slide is self._slide:
                return True
            if wanted := not self._closed and ticket == self._slide_ticket:
                self._switch_slide(slide)
        if not wanted:
            slide.close()
        self._outbox.empty()
        return wanted

    def _switch_slide(self, slide: "Slide | None") -> None:  # The lock is held, as in the next two.
        old, self._slide = self._slide, slide
        if old is None and slide is None:
            return
        self._keeper.look_at(None)
        if (former := left_behind(old, slide)) is not None:
            if self._former is None:  # Said once; the way back stays in sight.
                self._outbox.post(self.message, former.farewell())
            self._former = former
        self._outbox.post(self.slide_changed, slide)
        self._analyse_anew()
        if old is not None:  # After its analysis has ended, which the order of the keeper's jobs sees to.
            keep_tiles, keep_answers = slide is not None and slide.fingerprint == old.fingerprint, slide is not None
            self._keeper.do(lambda: self._holdings.release_slide(old, keep_tiles=keep_tiles, keep_answers=keep_answers))

    def _switch_model(self, model: "AnyModel | None") -> None:
        self._model, self._preview = model, None
        self._keeper.preview(None)
        self._outbox.post(self.model_changed, model)
        self._answer(model.tasks if model is not None else ())
        self._analyse_anew()

    def _answer(self, tasks: "tuple[AnyTask, ...]") -> None:
        self._tasks = tasks
        self._outbox.post(self.tasks_changed)
        names = [task.name for task in tasks]
        if self._overlay.task not in names:
            self._show(self._overlays.changed(self._overlay, {"task": names[0] if names else None}))

    def _analyse_anew(self) -> None:
        """Start over with the present slide and model, or say why that cannot be."""
        slide, model = self._slide, self._model
        self._report = self._result = None
        ready = slide is not None and slide.resolution.known
        self._keeper.replace(slide if ready else None, model)
        if (notice := standing_notice(slide, model)) is not None:
            self._outbox.post(self.message, notice)

    def _hear(self, token: int, report: "LiveReport") -> None:
        with self._lock:
            if self._closed or token != self._keeper.token:
                return
            self._report = report
            if report.result is not None:
                self._result = report.result
                self._show(self._overlays.presented(self._overlay, report.result.offered))
            self._outbox.post(self.report_changed, report, still=lambda: token == self._keeper.token)
        self._outbox.empty()

    def _show(self, overlay: OverlayChoice) -> None:
        if overlay != self._overlay:
            self._overlay = overlay
            self._keeper.explain(overlay.visible and overlay.kind is OverlayKind.CROSS_TASK)
            self._outbox.post(self.overlay_changed, overlay)

    def _fail(self, token: int, text: str) -> None:
        if token == self._keeper.token:
            self.say(Level.ERROR, text)

    def _warn_if_replaced(self) -> None:
        if (slide := self._slide) is not None and (change := slide.changed_on_disk()) is not None:
            self.say(Level.WARNING, change)

    def _tell_work(self, what: str | None) -> None:
        self._outbox.send(self.busy_changed, what)
