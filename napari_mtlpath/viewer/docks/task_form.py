"""The form for a new task: its name, the kind of its answer, the answers and their colours."""

from collections.abc import Callable

from qtpy.QtCore import Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QColorDialog,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_mtlpath.review.task_draft import COLOURS, MOST_CLASSES, TaskDraft, TaskKind
from napari_mtlpath.viewer.docks.decimal_point import read_point_and_comma
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe

KIND_WORDS = {
    TaskKind.BINARY: "Yes or no (two answers)",
    TaskKind.CLASSES: "One of several classes",
    TaskKind.REGRESSION: "A number",
}
FIRST_CLASSES = {TaskKind.BINARY: ("absent", "present"), TaskKind.CLASSES: ("", "", "")}
LARGEST = 1e6
NARROW = 64
"""Screen pixels of a field for a number: the longest one need not be seen as a whole."""


class TaskForm(QWidget):
    """Fields for a task, and a button that makes it. Hidden until it is asked for."""

    made = Signal(object)
    """A :class:`~napari_mtlpath.review.task_draft.TaskDraft` that the user has described."""

    cancelled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("task-form")
        self._error = PlainLabel("task-error", tooltip="Why the task cannot be made like this.", strong=True)
        self._title = QLineEdit()
        describe(self._title, "task-title", "What the model should learn, as a person would call it.")
        self._title.setPlaceholderText("for example Eosinophils")
        self._title.returnPressed.connect(self._make)
        self._title.textEdited.connect(lambda _: self._error.say(""))
        self._kind = QComboBox()
        describe(self._kind, "task-kind", "What an answer looks like.")
        for kind, words in KIND_WORDS.items():
            self._kind.addItem(words, kind)
        self._kind.currentIndexChanged.connect(self._show_kind)
        self._classes: list[tuple[QWidget, QLineEdit, QPushButton]] = []
        self._class_rows = QVBoxLayout()
        self._class_rows.setSpacing(2)
        self._more = QToolButton()
        self._more.setText("Add a class")
        describe(self._more, "task-add-class", f"One more answer, up to {MOST_CLASSES}.")
        self._more.clicked.connect(lambda: self._add_class(""))
        self._low, self._high = self._number("task-low", 0.0), self._number("task-high", 1.0)
        self._unit = QLineEdit()
        describe(self._unit, "task-unit", "The unit of the number, such as % or 1/mm2; may stay empty.")
        self._unit.setPlaceholderText("unit")
        self._range = QWidget()
        self._build()
        self._show_kind()

    def open(self) -> None:
        """Start with empty fields."""
        self._title.clear()
        self._error.say("")
        self._kind.setCurrentIndex(0)
        self._show_kind()
        self.show()
        self._title.setFocus()

    def refuse(self, sentence: str) -> None:
        """Say why the task cannot be made."""
        self._error.say(sentence)

    def _number(self, name: str, value: float) -> QDoubleSpinBox:
        field = QDoubleSpinBox()
        describe(field, name, "Answers are expected from the lowest to the highest number.")
        read_point_and_comma(field)
        field.setRange(-LARGEST, LARGEST)
        field.setDecimals(3)
        field.setValue(value)
        field.setMinimumWidth(NARROW)
        return field

    def _build(self) -> None:
        fields = QFormLayout()
        fields.setContentsMargins(0, 0, 0, 0)
        fields.addRow("Name", self._title)
        fields.addRow("Answer", self._kind)
        numbers = QHBoxLayout(self._range)
        numbers.setContentsMargins(0, 0, 0, 0)
        for part in (QLabel("from"), self._low, QLabel("to"), self._high, self._unit):
            numbers.addWidget(part)
        self._unit.setMinimumWidth(NARROW // 2)
        buttons = QHBoxLayout()
        buttons.addWidget(self._button("Make this task", "task-make", "Start labelling for it.", self._make))
        buttons.addWidget(self._button("Cancel", "task-cancel", "Make no task.", self.cancelled.emit))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(fields)
        layout.addLayout(self._class_rows)
        layout.addWidget(self._more)
        layout.addWidget(self._range)
        layout.addWidget(self._error)
        layout.addLayout(buttons)

    def _button(self, text: str, name: str, tooltip: str, action: Callable[[], object]) -> QPushButton:
        button = QPushButton(text)
        describe(button, name, tooltip)
        button.clicked.connect(lambda: action())
        return button

    def _show_kind(self, _: object = None) -> None:
        kind = TaskKind(self._kind.currentData())  # Qt hands it back as a plain text
        for row, _field, _button in self._classes:
            self._class_rows.removeWidget(row)
            row.hide()
            row.setParent(None)
            row.deleteLater()
        self._classes = []
        for name in FIRST_CLASSES.get(kind, ()):
            self._add_class(name)
        self._more.setVisible(kind is TaskKind.CLASSES)
        self._range.setVisible(kind is TaskKind.REGRESSION)

    def _add_class(self, name: str) -> None:
        number = len(self._classes)
        if number == MOST_CLASSES:
            return
        row = QWidget()
        field = QLineEdit(name)
        describe(field, f"task-class-{number}", "The answer in words; of two answers the second is the positive one.")
        field.setPlaceholderText(f"class {number + 1}")
        button = QPushButton()
        describe(button, f"task-colour-{number}", "The colour in which tiles with this answer are marked.")
        button.setFixedWidth(36)
        _paint(button, COLOURS[number])
        button.clicked.connect(lambda: self._choose_colour(button))
        inside = QHBoxLayout(row)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(QLabel(f"{number + 1}"))
        inside.addWidget(field, 1)
        inside.addWidget(button)
        self._class_rows.addWidget(row)
        self._classes.append((row, field, button))
        self._more.setEnabled(len(self._classes) < MOST_CLASSES)

    def _choose_colour(self, button: QPushButton) -> None:
        dialog = QColorDialog(QColor(button.property("colour")), self)
        dialog.setObjectName("task-colour-dialog")
        dialog.colorSelected.connect(lambda colour: _paint(button, colour.name()))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _make(self) -> None:
        kind = TaskKind(self._kind.currentData())  # Qt hands it back as a plain text
        filled = [
            (field.text(), button.property("colour")) for _, field, button in self._classes if field.text().strip()
        ]
        try:
            draft = TaskDraft.made(
                title=self._title.text(),
                kind=kind,
                classes=tuple(name for name, _ in filled),
                colours=tuple(colour for _, colour in filled),
                unit=self._unit.text(),
                low=self._low.value(),
                high=self._high.value(),
            )
        except ValueError as error:
            self._error.say(str(error))
            return
        self.made.emit(draft)


def _paint(button: QPushButton, colour: str) -> None:
    button.setProperty("colour", colour)
    button.setStyleSheet(f"background-color: {colour};")
