"""One task: its question, its answer as a number and a bar, and the switch that shows its heatmap."""

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QRadioButton, QSizePolicy, QVBoxLayout, QWidget

from napari_mtlpath.evaluation.class_sets import PROMISE
from napari_mtlpath.session.wording import class_bars, end_words, fraction, possible_words, task_title, value_words
from napari_mtlpath.tasks import AnyTask
from napari_mtlpath.viewer.docks.labels import ElidedLabel, PlainLabel, describe
from napari_mtlpath.viewer.docks.value_bar import ValueBar

if TYPE_CHECKING:
    from napari_mtlpath.inference.results import TaskResult

END_WIDTH = 80
"""Screen pixels that the words at an end of a bar may take before they are shortened."""

ANSWER_WIDTH = 190
"""The same of the answer beside the task's title: the panel must not grow wider than its dock."""

CLASS_WIDTH = 200
"""The same of the name and share of one of several possible answers."""

POSSIBLE_TOOLTIP = f"Which answers remain possible. With more than one, or none, the model abstains. {PROMISE}"


OVER_TOOLTIP = (
    "This model answers for tiles or pixels: this is what their answers add up to, no judgement of the slide."
)


class TaskRow(QWidget):
    """Shows one task's answer.

    Parameters
    ----------
    task
        The task.
    """

    def __init__(self, task: AnyTask) -> None:
        super().__init__()
        self.setObjectName(f"task-{task.name}")
        self.task = task
        self.choose = QRadioButton(task_title(task).replace("&", "&&"))
        asked = f"{task.question} " if task.question else ""
        describe(
            self.choose,
            f"task-{task.name}-choose",
            f"{task_title(task)}. {asked}Click to show this task's heatmap on the slide.",
        )
        self.choose.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # a long title gives way
        self.choose.toggled.connect(self._show_question)
        self._value = ElidedLabel(f"task-{task.name}-value", strong=True)
        self._value.fit(ANSWER_WIDTH)
        self._value.say("…")
        self._bar = ValueBar(f"task-{task.name}-bar", "The answer as a bar.")
        self._question = PlainLabel(f"task-{task.name}-question", tooltip="What the model is asked.")
        self._ends = [ElidedLabel(f"task-{task.name}-{end}") for end in ("low", "high")]
        self._possible = PlainLabel(f"task-{task.name}-possible", tooltip=POSSIBLE_TOOLTIP)
        self._over = PlainLabel(f"task-{task.name}-over", tooltip=OVER_TOOLTIP)
        self._classes = QGridLayout()  # so that all bars begin at one place, and can be compared
        self._class_rows: list[tuple[ElidedLabel, ValueBar]] = []
        self._build()

    def show_answer(self, answer: "TaskResult | None", over: str = "") -> None:
        """Show an answer and what it is a mean or a sum of, or that there is none yet."""
        self._over.say(over)
        if answer is None:
            self._value.say("…")
            self._bar.fill(0.0)
            self._possible.say("")
            return
        self._possible.say(possible_words(answer))
        self._value.say(value_words(answer))
        self._bar.fill(fraction(answer))
        for index, (words, part) in enumerate(class_bars(answer)):
            if index == len(self._class_rows):
                self._add_class(index)
            label, bar = self._class_rows[index]
            label.say(words)
            bar.fill(part)

    def _show_question(self, chosen: bool) -> None:
        """Ask in full only where the heatmap is looked at: the others ask in their tooltips."""
        self._question.say(self.task.question if chosen else "")

    def mousePressEvent(self, event: object) -> None:
        """Choose the task wherever its row is clicked."""
        self.choose.setChecked(True)

    def _build(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(0, 0, 0, 0)
        head.addWidget(self.choose, 1)
        head.addWidget(self._value)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 2)
        layout.setSpacing(1)
        layout.addLayout(head)
        layout.addWidget(self._question)
        if ends := end_words(self.task):
            layout.addLayout(self._bar_between(ends))
        self._classes.setSpacing(1)
        self._classes.setHorizontalSpacing(6)
        self._classes.setColumnStretch(1, 1)
        layout.addLayout(self._classes)
        layout.addWidget(self._over)
        layout.addWidget(self._possible)

    def _bar_between(self, ends: tuple[str, str]) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(6)
        left, right = self._ends
        for label, words in zip(self._ends, ends, strict=True):
            label.say(words)
            label.fit(END_WIDTH)
        row.addWidget(left)
        row.addWidget(self._bar, 1)
        row.addWidget(right)
        return row

    def _add_class(self, index: int) -> None:
        label = ElidedLabel(f"task-{self.task.name}-class-{index}")
        label.fit(CLASS_WIDTH)
        bar = ValueBar(f"task-{self.task.name}-class-{index}-bar", "The share of this answer.")
        self._classes.addWidget(label, index, 0)
        self._classes.addWidget(bar, index, 1)
        self._class_rows.append((label, bar))
