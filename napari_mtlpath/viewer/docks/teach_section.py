"""Fine-tune: teach the model the labelled task, watch it learn, save it as a new model or take it back."""

from collections.abc import Callable
from typing import Any

import napari
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_mtlpath.session.config_fields import ConfigField, config_fields
from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.session import Session
from napari_mtlpath.session.teaching import WhenClosed
from napari_mtlpath.session.teaching_view import TeachingPhase
from napari_mtlpath.session.teaching_words import origin_words, score_words, start_hint, status_words
from napari_mtlpath.tasks import Task
from napari_mtlpath.viewer.binding import session_of
from napari_mtlpath.viewer.bridge import Bridge
from napari_mtlpath.viewer.docks.config_form import ConfigForm
from napari_mtlpath.viewer.docks.curves import Curves
from napari_mtlpath.viewer.docks.errand import send_for
from napari_mtlpath.viewer.docks.guard_line import GuardLine
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe
from napari_mtlpath.viewer.docks.section import SectionDock
from napari_mtlpath.viewer.docks.taught_form import TaughtForm
from napari_mtlpath.viewer.docks.teach_together import TeachTogether
from napari_mtlpath.viewer.docks.train_form import TrainForm
from napari_mtlpath.viewer.docks.value_bar import ValueBar

FIRST = (
    "mode",
    "encoder_blocks",
    "encoder_learning_rate",
    "balancer",
    "distillation",
    "distillation_weight",
    "steps",
    "learning_rate",
    "validation_share",
    "patience",
)
"""The settings that are changed most, above the others."""


class TeachForm(QWidget):
    """Shows the session's teaching and says what the user wants of it.

    Parameters
    ----------
    session
        The session.
    _viewer
        Not used; every section is made alike.
    """

    def __init__(self, session: Session, _viewer: "napari.Viewer | None" = None) -> None:
        super().__init__()
        self.setObjectName("teach-form")
        self._session = session
        self._settings: ConfigForm | None = None
        self._task: Task | None = None
        self._together = TeachTogether(session)
        self._together.changed.connect(self._show)
        self._labels = 0
        self._hint = PlainLabel("teach-hint", tooltip="What has to be there before something can be taught.")
        self._start = self._button("Start", "teach-start", "Teach the labelled task to the model in use.", self.start)
        self._pause = self._button("Pause", "teach-pause", "Hold the training, or go on.", self.toggle_pause)
        self._finish = self._button("Finish", "teach-finish", _FINISH_TIP, session.teaching.finish)
        self._cancel = self._button("Cancel", "teach-cancel", _CANCEL_TIP, session.teaching.cancel)
        self._advanced = QToolButton()
        describe(self._advanced, "teach-advanced", "Show or hide all settings of the training.")
        self._options = QWidget()
        self._options.setObjectName("teach-options")
        self._on_close = QCheckBox("Finish and save when the window is closed")
        describe(self._on_close, "teach-when-closed", _CLOSED_TIP)
        self._on_close.toggled.connect(self._choose_end)
        self._bar = ValueBar("teach-progress", "How many of the planned steps are done.")
        self._status = PlainLabel("teach-status", tooltip="How far the training is, how long it takes, and where.")
        self._scores = PlainLabel("teach-scores-words", tooltip="Judged on labels that nothing learned from.")
        self._curves = Curves()
        self._origins = PlainLabel("teach-origins", tooltip="Which labels the task is taught from.")
        self._warnings = PlainLabel("teach-warnings", tooltip="What to know before you trust the result.")
        self._guard = GuardLine()
        self._taught = TaughtForm(session)
        self._build()
        self._bridge = bridge = Bridge(session, self)
        bridge.teaching_changed.connect(self._show)
        for news in (bridge.model_changed, bridge.labels_changed, bridge.slide_changed):
            news.connect(self._count)
        self._count()

    def start(self) -> None:
        """Start teaching with the settings of the form."""
        changes = self._settings.changes if self._settings is not None else {}
        tasks = [task.name for task in self._wanted]
        self._try(lambda: self._session.teaching.start(changes, tasks=tasks))

    def toggle_pause(self) -> None:
        """Hold the training or go on, also after it was cancelled."""
        teaching = self._session.teaching
        if teaching.view.phase is TeachingPhase.RUNNING:
            teaching.pause()
        else:
            self._try(teaching.go_on)

    @property
    def _wanted(self) -> tuple[Task, ...]:
        """What Start teaches, the task that is labelled now first."""
        return (self._task, *self._together.chosen) if self._task is not None else ()

    @property
    def _moves(self) -> dict[str, Any]:
        """What of the settings lets old answers move."""
        changes = self._settings.changes if self._settings is not None else {}
        shared = changes.get("mode") == "shared"
        return {"shared": shared, "encoder_blocks": changes.get("encoder_blocks", 0) if shared else 0}

    def _try(self, verb: Callable[[], object]) -> None:
        try:
            verb()
        except ValueError as error:
            self._session.say(Level.WARNING, str(error))

    def _button(self, text: str, name: str, tooltip: str, action: Callable[[], object]) -> QPushButton:
        button = QPushButton(text)
        describe(button, name, tooltip)
        button.clicked.connect(lambda: action())
        return button

    def _build(self) -> None:
        self._advanced.setText("Advanced")
        self._advanced.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._advanced.setArrowType(Qt.ArrowType.RightArrow)
        self._advanced.setCheckable(True)
        self._advanced.toggled.connect(self._open_advanced)
        options = QVBoxLayout(self._options)
        options.setContentsMargins(0, 0, 0, 0)
        options.addWidget(self._on_close)
        self._options.hide()
        buttons = QHBoxLayout()
        for button in (self._start, self._pause, self._finish, self._cancel):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 6)
        layout.setSpacing(4)
        layout.addWidget(self._hint)
        layout.addWidget(self._together)
        layout.addLayout(buttons)
        for widget in (self._bar, self._status, self._curves, self._scores, self._origins, self._warnings, self._guard):
            layout.addWidget(widget)
        layout.addWidget(self._taught)
        layout.addWidget(self._advanced)
        layout.addWidget(self._options)
        layout.addWidget(TrainForm(self._session))

    def _open_advanced(self, wanted: bool) -> None:
        self._advanced.setArrowType(Qt.ArrowType.DownArrow if wanted else Qt.ArrowType.RightArrow)
        self._options.setVisible(wanted)
        if wanted and self._settings is None:
            send_for(self, _teach_fields, on_done=self._make_form)

    def _make_form(self, fields: tuple[ConfigField, ...]) -> None:
        if self._settings is None:
            self._settings = ConfigForm("teach-setting", fields)
            self._settings.changed.connect(self._show)
            self._options.layout().insertWidget(0, self._settings)

    def _choose_end(self, finish: bool) -> None:
        self._session.teaching.when_closed = WhenClosed.FINISH if finish else WhenClosed.STOP

    def _count(self, _: object = None) -> None:
        """Look what there is to teach; not at every step of a training."""
        session = self._session
        draft = session.labels.task
        self._task = draft.task if draft is not None else None
        self._labels = session.labels.counts().total if draft is not None and session.slide_model is not None else 0
        self._together.count()
        if self._labels:
            session.teaching.prepare()
            self._curves.prepare()
        self._show()

    def _show(self, _: object = None) -> None:
        session, view = self._session, self._session.teaching.view
        phase, busy = view.phase, view.phase.busy
        model = session.slide_model is not None
        labels = self._labels and self._labels + self._together.labels
        hint = start_hint(model=model, tasks=self._wanted, labels=labels, busy=busy, **self._moves)
        self._hint.say(session.unteachable or hint)
        self._together.enable(not busy)
        self._start.setEnabled(not busy and model and self._labels > 0)
        self._pause.setText(_PAUSE_WORDS.get(phase, "Pause"))
        self._pause.setEnabled(phase in _PAUSE_WORDS)
        self._finish.setEnabled(phase in (TeachingPhase.RUNNING, TeachingPhase.PAUSED))
        self._cancel.setEnabled(phase in (TeachingPhase.PREPARING, TeachingPhase.RUNNING, TeachingPhase.PAUSED))
        report = view.report
        self._bar.setVisible(report is not None and busy)
        if report is not None:
            self._bar.fill(min(report.step / max(report.steps, 1), 1.0))
        self._status.say(status_words(view))
        self._curves.show_view(view)
        self._scores.say(score_words(view))
        self._origins.say(origin_words(view.origins))
        self._warnings.say("\n".join(view.warnings))
        self._guard.show_view(view)
        self._taught.show_view(view)


def _teach_fields() -> tuple[ConfigField, ...]:
    """Return the settings of teaching; loads torch, so not for the GUI thread."""
    from napari_mtlpath.training.teaching.config import TeachConfig

    return config_fields(TeachConfig, first=FIRST)


_PAUSE_WORDS: dict[Any, str] = {
    TeachingPhase.RUNNING: "Pause",
    TeachingPhase.PAUSED: "Resume",
    TeachingPhase.STOPPED: "Resume",
}

_FINISH_TIP = "End at the next point of the curves and keep the best that was learned so far."
_CANCEL_TIP = "Stop after the step at hand. The model stays as it is; Resume goes on from there."
_CLOSED_TIP = (
    "What becomes of a running training when you close the window: without a tick it stops at once and Resume goes on "
    "from there another time; with it the program ends only when the training has, and the model is saved."
)


class TeachSection(SectionDock):
    """The Fine-tune section as a dock of its own."""

    def __init__(self, viewer: napari.Viewer) -> None:
        session = session_of(viewer)
        super().__init__(session, TeachForm(session, viewer), viewer)
