"""Training a whole model from a config file in the viewer, with the generator of `mtlpath train`."""

import logging
import math
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.outbox import Outbox
from napari_mtlpath.session.run_control import RunControl, RunStopped
from napari_mtlpath.session.run_thread import RunThread
from napari_mtlpath.session.teaching_run import failure_words
from napari_mtlpath.session.teaching_view import TeachingPhase, TeachingView, paused_or_running

if TYPE_CHECKING:
    from napari_mtlpath.session.session import Session
    from napari_mtlpath.training.loop.report import TrainingReport

logger = logging.getLogger(__name__)

SHOWN = {"auc": "AUC", "r2": "R2", "macro_f1": "macro-F1"}
"""What a person calls a figure."""

FLOORS = {"auc": 0.5, "r2": 0.0}
"""What the trivial answer scores, where that is the same for every table."""


@dataclass(frozen=True, kw_only=True)
class TrainingSign:
    """A report of a whole training in the form in which a teaching reports; see the fields there."""

    phase: str
    step: int
    steps: int
    seconds: float
    seconds_left: float
    device: str
    losses: Mapping[str, float]
    scores: Mapping[str, float]
    score_names: Mapping[str, str]
    floors: Mapping[str, float]
    warnings: tuple[str, ...]
    stopped: str
    validation_losses: Mapping[str, float] = field(default_factory=dict)
    model: None = None
    guard: None = None
    taught: None = None


TrainMaker = Callable[[Path], "Generator[TrainingReport, None, None]"]
"""Makes the training that a config file describes; called in the training's thread."""


class WholeTraining:
    """One training of a whole model at a time; its verbs return at once. Closing the session stops it and keeps it.

    Parameters
    ----------
    session
        Which uses the model in the end.
    outbox
        The session's, through which news leave.

    Attributes
    ----------
    train
        What makes the training; another in tests.
    """

    def __init__(self, session: "Session", outbox: Outbox) -> None:
        self.train: TrainMaker = training_of
        self._session = session
        self._outbox = outbox
        self._lock = threading.RLock()
        self._thread = RunThread("mtlpath-training")
        self._view = TeachingView()
        self._run: RunControl | None = None
        self._config: Path | None = None
        self._output: Path | None = None

    @property
    def view(self) -> TeachingView:
        """Where it stands."""
        return self._view

    def start(self, config: Path) -> None:
        """Train what a config file describes, or go on where the same training was stopped.

        Raises
        ------
        ValueError
            If a training is going on.
        """
        with self._lock:
            if self._view.phase.busy:
                raise ValueError("A model is being trained already. Cancel it, or wait until it has ended.")
            self._config, self._output = config, None
            self._run = run = RunControl()
            self._tell(TeachingView(phase=TeachingPhase.PREPARING, parent=config.name))
            self._thread.submit(lambda: self._work(run, config))
        self._outbox.empty()

    def pause(self) -> None:
        """Hold the training after the step at hand; ignored where there is none."""
        if self._run is not None:
            self._run.pause(True)

    def go_on(self) -> None:
        """Go on where a pause or a cancellation left it; ignored otherwise."""
        if self._view.phase is TeachingPhase.STOPPED and self._config is not None:
            self.start(self._config)
        elif self._run is not None:
            self._run.pause(False)

    def cancel(self) -> None:
        """Stop after the step at hand; its checkpoint stays. Ignored where nothing is going on."""
        with self._lock:
            if self._run is None or not self._view.phase.busy:
                return
            self._tell(replace(self._view, phase=TeachingPhase.STOPPING))
            self._run.stop()
        self._outbox.empty()

    def use(self) -> None:
        """Use the trained model on the open slide. Blocks: call it from a worker."""
        if self._output is not None:
            self._session.load_model(str(self._output))

    def settle(self, timeout: float | None = None) -> None:
        """Wait until what was asked for so far has ended; for command lines and tests, not for the GUI."""
        self._thread.settle(timeout)

    def close(self) -> None:
        """Stop after the step at hand and wait for it. Idempotent."""
        self._thread.refuse()
        if self._run is not None:
            self._run.stop()
        self._thread.end()

    def _work(self, run: RunControl, config: Path) -> None:
        try:
            with closing(self.train(config)) as reports:
                self._pull(run, reports)
        except RunStopped:
            self._change(phase=TeachingPhase.STOPPED)
        except Exception as error:  # the outermost frame of a thread: there is no caller to handle it
            logger.info("A training failed", exc_info=error)
            self._change(phase=TeachingPhase.FAILED, problem=failure_words(error))
            self._session.say(Level.ERROR, failure_words(error))
        else:
            self._outbox.post(self._session.models_changed)
            name = self._output.name if self._output is not None else ""
            self._change(phase=TeachingPhase.DONE, saved_as=name)

    def _pull(self, run: RunControl, reports: "Iterator[TrainingReport]") -> None:
        run.check()
        for report in reports:
            self._output = report.output or self._output
            with self._lock:
                going = self._view.phase is not TeachingPhase.STOPPING
                phase = TeachingPhase.RUNNING if going else self._view.phase
                self._tell(replace(self._view.heard(sign_of(report)), phase=phase))  # type: ignore[arg-type]  # alike
            self._outbox.empty()
            run.hold(lambda pausing: self._change(phase=paused_or_running(pausing)))

    def _change(self, **changes: Any) -> None:  # noqa: ANN401 - the fields of TeachingView
        with self._lock:
            self._tell(replace(self._view, **changes))
        self._outbox.empty()

    def _tell(self, view: TeachingView) -> None:
        self._view = view
        self._outbox.post(self._session.training_changed, view)


def training_of(config: Path) -> "Generator[TrainingReport, None, None]":
    """Return the training that a config file describes; its model goes among the user's own.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it cannot be used; one sentence says why.
    """
    from napari_mtlpath.training.config.train_config import read_config
    from napari_mtlpath.training.own_folder import own_folder
    from napari_mtlpath.training.train import train
    from napari_mtlpath.zoo.device import pick_device

    settings = read_config(config)
    folders = (config.resolve().parent,)
    reports = train(settings, output=own_folder(settings), data=folders, device=pick_device("auto").device)
    yield from reports


def sign_of(report: "TrainingReport") -> TrainingSign:
    """Return a report of a whole training as the curves read it: figures by task, with the trivial answer's."""
    scores, names, floors = {}, {}, {}
    for figure, value in report.metrics.items():
        task, _, name = figure.rpartition(" ")
        if task and math.isfinite(value):
            scores[task], names[task] = value, SHOWN.get(name, name)
            if name in FLOORS:
                floors[task] = FLOORS[name]
    return TrainingSign(
        phase=str(report.phase),
        step=report.step,
        steps=report.steps,
        seconds=report.seconds,
        seconds_left=report.seconds_left,
        device="",
        losses=dict(report.losses) or ({"loss": report.loss} if math.isfinite(report.loss) else {}),
        scores=scores,
        score_names=names,
        floors=floors,
        warnings=report.warnings,
        stopped=report.stopped,
    )
