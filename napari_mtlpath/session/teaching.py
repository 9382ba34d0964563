"""Teaching the model in use new tasks, or its own further, in a thread of its own, while everything else goes on."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.outbox import Outbox
from napari_mtlpath.session.run_control import RunStopped
from napari_mtlpath.session.run_thread import RunThread
from napari_mtlpath.session.teaching_run import TeachingRun, failure_words
from napari_mtlpath.session.teaching_tools import TeachingTools, free_name, own_model_folder, suggested_name
from napari_mtlpath.session.teaching_view import TeachingPhase, TeachingView
from napari_mtlpath.session.wording import task_title

if TYPE_CHECKING:
    from napari_mtlpath.session.session import Session
    from napari_mtlpath.training.teaching.report import TeachReport
    from napari_mtlpath.zoo.model import SlideModel

logger = logging.getLogger(__name__)

NEWS_SECONDS = 0.1
"""How often a running training is heard at most: a dock that draws curves needs no more."""


class WhenClosed(StrEnum):
    """What becomes of a running training when its viewer is closed."""

    STOP = "stop"
    FINISH = "finish"


class Teaching:
    """One training at a time, told what to do by verbs that return at once, heard through the session's signals.

    The thread belongs to this object, not to the slide: switching slides lets it go on, and the preview then paints the
    new slide. Switching the model lets it go on unseen; the preview is back when its parent is in use again. Closing
    the session stops it after the step at hand, and its checkpoint stays; or lets it finish and save, as chosen.

    Parameters
    ----------
    session
        Whose model is taught.
    outbox
        The session's, through which news leave.

    Attributes
    ----------
    tools
        What it works with; others in tests.
    when_closed
        What becomes of a running training when the session is closed.
    """

    def __init__(self, session: "Session", outbox: Outbox) -> None:
        self.tools = TeachingTools()
        self.when_closed = WhenClosed.STOP
        self._session = session
        self._outbox = outbox
        self._lock = threading.RLock()
        self._thread = RunThread("mtlpath-teaching")
        self._view = TeachingView()
        self._run: TeachingRun | None = None
        self._last_news = float("-inf")
        self._first = True
        self._prepared = False
        session.model_changed.connect(self._show_again)

    @property
    def view(self) -> TeachingView:
        """Where it stands."""
        return self._view

    def prepare(self) -> None:
        """Load in the background what the first training needs: some seconds that nobody then waits for."""
        with self._lock:
            if not self._prepared:
                self._prepared = True
                self._thread.submit(self.tools.prepare)

    def start(self, settings: Mapping[str, Any], *, tasks: Sequence[str] = (), resume: bool | None = None) -> None:
        """Teach tasks and labels of the session to the model in use; earlier, unsaved results are dropped.

        Parameters
        ----------
        settings
            How: what differs from the defaults of :class:`~napari_mtlpath.training.teaching.config.TeachConfig`.
        tasks
            Names of the tasks that learn, which have labels; by default the one that is labelled now.
        resume
            Go on from the checkpoint of the same model, labels and settings, where there is one; by default only the
            first time, so that what a closed or killed program had learned is not lost.

        Raises
        ------
        ValueError
            If no model is in use or a training is going on.
        """
        with self._lock:
            self._refuse_while_busy()
            model = self._session.slide_model
            if model is None:
                raise ValueError("A task is taught to a model, and none is in use. Load a model first.")
            goes_on = self._first if resume is None else resume
            self._first = False
            labelled = self._session.labels.task
            wanted = tuple(tasks) or ((labelled.task.name,) if labelled is not None else ())
            shared, blocks = settings.get("mode") == "shared", int(settings.get("encoder_blocks", 0))
            seen = self._session.labels.slides_seen() if blocks else {}
            self._run = run = TeachingRun(parent=model, settings=settings, wanted=wanted, resume=goes_on, seen=seen)
            titles = {task.name: task_title(task) for task in model.tasks}
            parent = model.card.name
            preparing = TeachingView(phase=TeachingPhase.PREPARING, parent=parent, titles=titles)
            self._tell(replace(preparing, shared=shared, encoder_blocks=blocks))
            self._thread.submit(lambda: self._teach(run))
        self._session.preview(None, of=model)
        self._outbox.empty()

    def go_on(self) -> None:
        """Go on where a pause or a cancellation left it; ignored otherwise."""
        run, phase = self._run, self._view.phase
        if run is None:
            return
        if phase is TeachingPhase.STOPPED:
            self.start(run.settings, tasks=run.wanted, resume=True)
        else:
            run.pause(False)

    def pause(self) -> None:
        """Hold the training after the step at hand; ignored where there is none."""
        if self._run is not None:
            self._run.pause(True)

    def finish(self) -> None:
        """End soon and keep the best weights so far; ignored where nothing is going on."""
        if self._run is not None:
            self._run.finish()

    def cancel(self) -> None:
        """Stop after the step at hand and keep the checkpoint; ignored where nothing is going on."""
        with self._lock:
            if self._run is None or self._view.phase not in _STOPPABLE:
                return
            self._tell(replace(self._view, phase=TeachingPhase.STOPPING))
            self._run.stop()
        self._outbox.empty()

    def save(self, name: str) -> None:
        """Save what was taught as a new model below the user's models, and use it.

        Raises
        ------
        ValueError
            If nothing was taught. A name that is taken or none is told as the view's `problem`.
        """
        with self._lock:
            run = self._run
            if run is None or run.taught is None or self._view.phase is not TeachingPhase.DONE:
                raise ValueError("There is nothing to save. Start teaching and wait until it has ended.")
            taught = run.taught
            self._write(name, lambda folder: self.tools.save(taught, folder), back_to=TeachingPhase.DONE)
        self._outbox.empty()

    def remove_task(self, task: str) -> None:
        """Save the model in use without one of its tasks as a new model, and use that.

        Raises
        ------
        ValueError
            If no model is in use or a training is going on.
        """
        with self._lock:
            self._refuse_while_busy()
            model = self._session.slide_model
            if model is None:
                raise ValueError("A task is removed from a model, and none is in use. Load a model first.")
            self._run = TeachingRun(parent=model)
            self._view = TeachingView(parent=model.card.name)
            self._write(
                f"{model.card.name}-without-{task}",
                lambda folder: self.tools.remove_task(self._session, model, task, folder),
                back_to=TeachingPhase.IDLE,
                renamed=True,
            )
        self._outbox.empty()

    def discard(self) -> None:
        """Drop what was taught and not saved: the model is as it was. Ignored while a training goes on."""
        with self._lock:
            if self._view.phase.busy:
                return
            run, self._run = self._run, None
            self._tell(TeachingView())
        if run is not None:
            self._session.preview(None, of=run.parent)
        self._outbox.empty()

    def undo(self) -> None:
        """Go back to the model that was taught; what was saved stays among the models. Ignored before saving."""
        with self._lock:
            run = self._run
            if run is None or self._view.phase is not TeachingPhase.SAVED:
                return
        self.discard()
        self._session.set_model(run.parent)

    def settle(self, timeout: float | None = None) -> None:
        """Wait until what was asked for so far has ended; for command lines and tests, not for the GUI."""
        self._thread.settle(timeout)

    def close(self) -> None:
        """End, or let a running training finish and save by itself, as `when_closed` says. Idempotent."""
        with self._lock:
            self._thread.refuse()
            run = self._run
        self._session.model_changed.disconnect(self._show_again, missing_ok=True)
        finish = self.when_closed is WhenClosed.FINISH and self._view.phase in (
            TeachingPhase.RUNNING,
            TeachingPhase.PAUSED,
        )
        if run is not None:
            run.pause(False)
            if not finish:
                run.stop()
        self._thread.end(wait=not finish)

    # --- in the thread of the training

    def _teach(self, run: TeachingRun) -> None:
        try:
            run.taught = run.pulled(
                self._session,
                self.tools,
                on_change=lambda **changes: self._change(run, **changes),
                on_report=lambda report: self._hear(run, report),
            )
        except RunStopped:
            self._end(run, phase=TeachingPhase.STOPPED)
        except Exception as error:  # the outermost frame of a thread: there is no caller to handle it
            logger.info("Teaching failed", exc_info=error)
            self._end(run, phase=TeachingPhase.FAILED, problem=failure_words(error))
            self._session.say(Level.ERROR, failure_words(error))
        else:
            self._end(run, phase=TeachingPhase.DONE, suggested=suggested_name(run))
            if self._thread.closed:
                self._finish_alone(run)

    def _hear(self, run: TeachingRun, report: "TeachReport") -> None:
        if report.model is not None:
            self._show(run, report.model)
        with self._lock:
            if run is not self._run:
                return
            self._view = self._view.heard(report)
            now = time.monotonic()
            if now - self._last_news < NEWS_SECONDS:
                return
            self._tell(self._view)
        self._outbox.empty()

    def _show(self, run: TeachingRun, model: "SlideModel") -> None:
        """Let the snapshot judge the open slide, and look at its new task when it is shown first."""
        first, run.snapshot = run.snapshot is None, model
        if self._session.preview(model, of=run.parent) and first and run.tasks:
            self._session.set_overlay(task=run.tasks[0].name)

    def _end(self, run: TeachingRun, **changes: Any) -> None:  # noqa: ANN401 - the fields of TeachingView
        if run.taught is None:
            run.snapshot = None
            self._session.preview(None, of=run.parent)
        self._change(run, **changes)

    def _finish_alone(self, run: TeachingRun) -> None:
        """Save what a training of a closed viewer has learned."""
        folder = own_model_folder(suggested_name(run))
        try:
            self.tools.save(run.taught, folder)
        except (OSError, ValueError) as error:
            logger.warning("What was taught could not be saved: %s", error)
        else:
            logger.info("Taught a task after the viewer was closed; saved in %s.", folder)

    def _write(
        self, wanted: str, write: Callable[[Path], object], *, back_to: TeachingPhase, renamed: bool = False
    ) -> None:
        """Write a model folder in the background and use the model; `renamed`: under the next free name."""
        run = self._run
        assert run is not None
        self._tell(replace(self._view, phase=TeachingPhase.SAVING, problem=""))

        def work() -> None:
            try:
                name = free_name(wanted) if renamed else wanted
                write(own_model_folder(name))
                used = self._session.model is run.parent
                if used and not self._thread.closed:
                    self._session.load_model(name, device=str(run.parent.device))
            except Exception as error:  # as in _teach
                logger.info("Saving a model failed", exc_info=error)
                self._change(run, phase=back_to, problem=failure_words(error))
                self._session.say(Level.ERROR, failure_words(error))
                return
            self._outbox.post(self._session.models_changed)
            self._change(run, phase=TeachingPhase.SAVED, saved_as=name)

        self._thread.submit(work)

    # --- state

    def _show_again(self, model: "SlideModel | None") -> None:
        """Go on with the preview when the model that is being taught is in use again."""
        run = self._run
        if run is not None and run.snapshot is not None and model is run.parent and self._view.phase in _PREVIEWED:
            self._session.preview(run.snapshot, of=run.parent)

    def _change(self, run: TeachingRun, **changes: Any) -> None:  # noqa: ANN401
        with self._lock:
            if run is not self._run or (self._view.phase is TeachingPhase.STOPPING and _goes_on(changes)):
                return
            self._tell(replace(self._view, **changes))
        self._outbox.empty()

    def _tell(self, view: TeachingView) -> None:
        self._view = view
        self._last_news = time.monotonic()
        self._outbox.post(self._session.teaching_changed, view)

    def _refuse_while_busy(self) -> None:
        if self._view.phase.busy:
            raise ValueError("A task is being taught already. Cancel it, or wait until it has ended.")


_STOPPABLE = (TeachingPhase.PREPARING, TeachingPhase.RUNNING, TeachingPhase.PAUSED)
_PREVIEWED = (TeachingPhase.RUNNING, TeachingPhase.PAUSED, TeachingPhase.STOPPING, TeachingPhase.DONE)


def _goes_on(changes: dict[str, Any]) -> bool:
    """Whether a change would hide that the training is being stopped."""
    return changes.get("phase") in (TeachingPhase.RUNNING, TeachingPhase.PAUSED)
