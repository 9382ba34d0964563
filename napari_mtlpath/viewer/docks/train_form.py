"""Training a whole model from a config file: the training of `mtlpath train`, watched and tried on the open slide."""

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.session import Session
from napari_mtlpath.session.teaching_view import TeachingPhase
from napari_mtlpath.session.teaching_words import score_words, status_words
from napari_mtlpath.viewer.bridge import Bridge
from napari_mtlpath.viewer.docks.curves import Curves
from napari_mtlpath.viewer.docks.errand import send_for
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe
from napari_mtlpath.viewer.docks.value_bar import ValueBar
from napari_mtlpath.viewer.worker import sentence_of

FILTER = "Training configs (*.toml);;All files (*)"

HINT = (
    "A TOML file says what is trained on which cohort table: 'mtlpath train --template mecds' prints one. Data files "
    "are looked for beside it."
)


class TrainForm(QWidget):
    """Closed until it is asked for: most who come here want to teach a model that they have.

    Parameters
    ----------
    session
        The session.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("train-form")
        self._session = session
        self._dialog: QFileDialog | None = None
        self._toggle = QToolButton()
        describe(self._toggle, "train-whole", "Train a model of your own from a cohort table and a config file.")
        self._content = QWidget()
        self._content.setObjectName("train-content")
        self._path = QLineEdit()
        self._path.setPlaceholderText("config.toml")
        describe(self._path, "train-config", "The config file of the training.")
        self._path.textChanged.connect(self._show)
        training = session.training
        self._browse = _button("Browse…", "train-browse", "Choose a config file.", self.choose)
        self._start = _button("Train", "train-start", "Start, or go on where the same training stopped.", self.start)
        self._pause = _button("Pause", "train-pause", "Hold the training, or go on.", self.toggle_pause)
        self._cancel = _button("Cancel", "train-cancel", "Stop after the step at hand and keep it.", training.cancel)
        self._use = _button("Try it on the open slide", "train-use", "Load the trained model.", self.use)
        self._bar = ValueBar("train-progress", "How many of the planned steps are done.")
        self._status = PlainLabel("train-status", tooltip="How far the training is.")
        self._curves = Curves("train")
        self._scores = PlainLabel("train-scores-words", tooltip="Judged on patients that nothing learned from.")
        self._warnings = PlainLabel("train-warnings", tooltip="What to know about the data.")
        self._build()
        self._bridge = bridge = Bridge(session, self)
        bridge.training_changed.connect(self._show)
        self._show()

    def choose(self) -> None:
        """Let the user choose a config file."""
        dialog = QFileDialog(self, "Training config", "", FILTER)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(self._path.setText)
        self._dialog = dialog
        dialog.open()

    def start(self) -> None:
        """Train what the config says."""
        try:
            self._session.training.start(Path(self._path.text().strip()))
        except ValueError as error:
            self._session.say(Level.WARNING, str(error))

    def toggle_pause(self) -> None:
        """Hold the training or go on, also after it was cancelled."""
        training = self._session.training
        if training.view.phase is TeachingPhase.RUNNING:
            training.pause()
        else:
            training.go_on()

    def use(self) -> None:
        """Load the trained model in the background."""
        session = self._session
        send_for(self, session.training.use, on_error=lambda error: session.say(Level.ERROR, sentence_of(error)))

    def _build(self) -> None:
        self._toggle.setText("Train a whole model")
        self._toggle.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._toggle.setArrowType(Qt.ArrowType.RightArrow)
        self._toggle.setCheckable(True)
        self._toggle.toggled.connect(self._open)
        file = QHBoxLayout()
        file.addWidget(self._path, 1)
        file.addWidget(self._browse)
        buttons = QHBoxLayout()
        for button in (self._start, self._pause, self._cancel):
            buttons.addWidget(button)
        inner = QVBoxLayout(self._content)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(4)
        inner.addWidget(PlainLabel("train-hint", HINT))
        inner.addLayout(file)
        inner.addLayout(buttons)
        for widget in (self._bar, self._status, self._curves, self._scores, self._warnings, self._use):
            inner.addWidget(widget)
        self._content.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._toggle)
        layout.addWidget(self._content)

    def _open(self, wanted: bool) -> None:
        self._toggle.setArrowType(Qt.ArrowType.DownArrow if wanted else Qt.ArrowType.RightArrow)
        self._content.setVisible(wanted)

    def _show(self, _: object = None) -> None:
        view = self._session.training.view
        phase, report = view.phase, view.report
        self._start.setEnabled(not phase.busy and bool(self._path.text().strip()))
        self._pause.setText("Resume" if phase in (TeachingPhase.PAUSED, TeachingPhase.STOPPED) else "Pause")
        self._pause.setEnabled(phase in (TeachingPhase.RUNNING, TeachingPhase.PAUSED, TeachingPhase.STOPPED))
        self._cancel.setEnabled(phase.busy and phase is not TeachingPhase.STOPPING)
        self._use.setVisible(phase is TeachingPhase.DONE)
        self._bar.setVisible(report is not None and phase.busy)
        if report is not None:
            self._bar.fill(min(report.step / max(report.steps, 1), 1.0))
        self._status.say(status_words(view))
        self._curves.show_view(view)
        self._scores.say(score_words(view))
        self._warnings.say("\n".join(view.warnings))


def _button(text: str, name: str, tooltip: str, action: Callable[[], object]) -> QPushButton:
    button = QPushButton(text)
    describe(button, name, tooltip)
    button.clicked.connect(lambda: action())
    return button
