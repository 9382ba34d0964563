"""What the model says: one row per task, over how many tiles, and how fast the rest is coming."""

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_mtlpath.session.session import Session
from napari_mtlpath.session.wording import over_words, pace_words, scope_words, view_words, waiting_words
from napari_mtlpath.viewer.bridge import Bridge
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe
from napari_mtlpath.viewer.docks.shortcuts import PAUSE_KEY, RERUN_KEY
from napari_mtlpath.viewer.docks.task_row import TaskRow
from napari_mtlpath.viewer.docks.value_bar import ValueBar


class PredictionsForm(QWidget):
    """Shows the newest report of the session."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("predictions-form")
        self._session = session
        self._rows: list[TaskRow] = []
        self._group = QButtonGroup(self)
        self._waiting = PlainLabel("predictions-waiting", tooltip="What has to be done before there are predictions.")
        self._scope = PlainLabel(
            "predictions-scope",
            tooltip="How much of the tissue the answers are about. They hold for the slide only when all of it is "
            "analysed; until then they are about the part seen so far.",
            strong=True,
        )
        self._tasks = QVBoxLayout()
        self._progress = ValueBar("predictions-progress", "How much of the slide's tissue is analysed.")
        self._view = PlainLabel("predictions-view", tooltip="How many of the tissue tiles on screen are analysed.")
        self._pace = PlainLabel("predictions-pace", tooltip="What the analysis is doing, on which device, how fast.")
        self._message = PlainLabel("predictions-message", tooltip="What the analysis has to say.")
        self._pause = self._button("Pause", "predictions-pause", "Hold or continue the analysis.", self._toggle)
        self._rerun = self._button(
            f"Re-run ({RERUN_KEY})", "predictions-rerun", "Compute everything again.", session.rerun
        )
        self._build()
        self._bridge = bridge = Bridge(session, self)
        bridge.tasks_changed.connect(self._show_tasks)
        for news in (bridge.report_changed, bridge.slide_changed, bridge.model_changed, bridge.resolution_changed):
            news.connect(self._show)
        bridge.busy_changed.connect(self._show)
        bridge.overlay_changed.connect(self._show_choice)
        self._show_tasks()

    def _button(self, text: str, name: str, tooltip: str, action: Callable[[], object]) -> QPushButton:
        button = QPushButton(text)
        describe(button, name, tooltip)
        button.clicked.connect(lambda: action())
        return button

    def _build(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self._pause)
        buttons.addWidget(self._rerun)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self._waiting)
        layout.addWidget(self._scope)
        layout.addWidget(self._progress)
        layout.addLayout(self._tasks)
        for widget in (self._message, self._view, self._pace):
            layout.addWidget(widget)
        layout.addLayout(buttons)

    def toggle_pause(self) -> None:
        """Hold or continue the analysis."""
        if self._session.paused:
            self._session.resume()
        else:
            self._session.pause()
        self._show()

    def _toggle(self) -> None:
        self.toggle_pause()

    def _show_tasks(self) -> None:
        """Make one row per task of the model."""
        for row in self._rows:
            self._group.removeButton(row.choose)
            self._tasks.removeWidget(row)
            row.hide()
            row.deleteLater()
        self._rows = [TaskRow(task) for task in self._session.tasks]
        for row in self._rows:
            self._group.addButton(row.choose)
            self._tasks.addWidget(row)
            row.choose.toggled.connect(lambda on, name=row.task.name: self._choose(on, name))
        self._show_choice()
        self._show()

    def _choose(self, on: bool, name: str) -> None:
        if on and self._session.overlay.task != name and name in {task.name for task in self._session.tasks}:
            self._session.set_overlay(task=name)

    def _show_choice(self, _: object = None) -> None:
        for row in self._rows:
            if row.task.name == self._session.overlay.task:
                row.choose.setChecked(True)

    def _show(self, _: object = None) -> None:
        session = self._session
        slide, report, result = session.slide, session.report, session.result
        scale = slide is not None and slide.resolution.known
        waiting = waiting_words(slide=slide is not None, model=session.model is not None, scale=scale)
        hint = waiting or ("" if report is not None else "The analysis starts…")
        self._waiting.say("" if session.busy else hint)  # what it is busy with stands above
        answers = {answer.task.name: answer for answer in result.tasks} if result is not None else {}
        for row in self._rows:
            answer = answers.get(row.task.name)
            row.show_answer(answer, over_words(answer, result) if answer is not None and result is not None else "")
        self._scope.say(scope_words(result) if result is not None else "")
        self._progress.setVisible(report is not None)
        if report is not None:
            self._progress.fill(min(report.tiles_known / max(report.tiles_total, 1), 1.0))
        self._view.say(view_words(report) if report is not None else "")
        self._pace.say(pace_words(report) if report is not None else "")
        self._message.say(report.message if report is not None else "")
        self._pause.setText(f"{'Resume' if session.paused else 'Pause'} ({PAUSE_KEY})")
        for button in (self._pause, self._rerun):
            button.setVisible(not waiting)
            button.setCursor(Qt.CursorShape.ArrowCursor)
