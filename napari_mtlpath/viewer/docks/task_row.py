"""One task: its question, its answer as a number and a bar, and the switch that shows its heatmap."""

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QRadioButton, QVBoxLayout, QWidget

from napari_mtlpath.session.wording import class_bars, fraction, meaning_words, task_title, value_words
from napari_mtlpath.tasks import Task
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe
from napari_mtlpath.viewer.docks.value_bar import ValueBar

if TYPE_CHECKING:
    from napari_mtlpath.inference.results import TaskResult


class TaskRow(QWidget):
    """Shows one task's answer.

    Parameters
    ----------
    task
        The task.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.setObjectName(f"task-{task.name}")
        self.task = task
        self.choose = QRadioButton(task_title(task).replace("&", "&&"))
        describe(self.choose, f"task-{task.name}-choose", "Show this task's heatmap on the slide.")
        self._value = QLabel("…")
        self._value.setTextFormat(Qt.TextFormat.PlainText)
        describe(self._value, f"task-{task.name}-value", "The model's answer for the tiles analysed so far.")
        font = self._value.font()
        font.setBold(True)
        self._value.setFont(font)
        self._bar = ValueBar(f"task-{task.name}-bar", "The answer as a bar.")
        self._question = PlainLabel(f"task-{task.name}-question", task.question, tooltip="What the model is asked.")
        self._meaning = PlainLabel(f"task-{task.name}-meaning", tooltip="What the ends of the bar mean.")
        self._classes = QVBoxLayout()
        self._class_rows: list[tuple[QLabel, ValueBar]] = []
        self._build()

    def show_answer(self, answer: "TaskResult | None") -> None:
        """Show an answer, or that there is none yet."""
        if answer is None:
            self._value.setText("…")
            self._bar.fill(0.0)
            self._meaning.say("")
            return
        self._value.setText(value_words(answer))
        self._bar.fill(fraction(answer))
        self._meaning.say(meaning_words(answer))
        for index, (words, part) in enumerate(class_bars(answer)):
            if index == len(self._class_rows):
                self._add_class(index)
            label, bar = self._class_rows[index]
            label.setText(words)
            bar.fill(part)

    def mousePressEvent(self, event: object) -> None:
        """Choose the task wherever its row is clicked."""
        self.choose.setChecked(True)

    def _build(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(0, 0, 0, 0)
        head.addWidget(self.choose, 1)
        head.addWidget(self._value)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 4)
        layout.setSpacing(2)
        layout.addLayout(head)
        layout.addWidget(self._question)
        layout.addWidget(self._bar)
        layout.addWidget(self._meaning)
        layout.addLayout(self._classes)

    def _add_class(self, index: int) -> None:
        label = QLabel()
        label.setTextFormat(Qt.TextFormat.PlainText)
        describe(label, f"task-{self.task.name}-class-{index}", "One of the possible answers, and its share.")
        bar = ValueBar(f"task-{self.task.name}-class-{index}-bar", "The share of this answer.")
        row = QHBoxLayout()
        row.addWidget(label, 1)
        row.addWidget(bar, 1)
        self._classes.addLayout(row)
        self._class_rows.append((label, bar))
