"""The answers to give and the tools to give them with: clicks, regions, the whole slide, undo and redo."""

from collections.abc import Callable

from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_mtlpath.review.task_draft import TaskDraft, TaskKind
from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.session import Session
from napari_mtlpath.viewer.bridge import Bridge
from napari_mtlpath.viewer.docks.decimal_point import read_point_and_comma
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe
from napari_mtlpath.viewer.docks.shortcuts import REDO_KEY, UNDO_KEY, key_words
from napari_mtlpath.viewer.layers.label_layers import LabelLayers
from napari_mtlpath.viewer.layers.tile_clicks import Tool

TOOL_WORDS = {
    Tool.TILES: ("Tiles", "Click a tile to give it the answer; click it again to take that back."),
    Tool.POLYGON: ("Polygon", "Click corners around tissue, double click ends: the tiles inside get the answer."),
    Tool.RECTANGLE: ("Rectangle", "Drag over tissue: the tiles whose centre is inside get the answer."),
    Tool.LASSO: ("Lasso", "Draw around tissue with the mouse held down: the tiles inside get the answer."),
}
TOOL_HELP = {
    Tool.TILES: "Click tiles, or press 1 to 9 over one. Delete takes a label back. Drag to move the slide.",
    Tool.POLYGON: "Click the corners; a double click closes the polygon. Hold Space to move the slide.",
    Tool.RECTANGLE: "Drag from corner to corner. Hold Space to move the slide.",
    Tool.LASSO: "Hold the mouse button and draw around tissue. Hold Space to move the slide.",
}
SWATCH = 12
NARROWEST_BUTTON = 60
"""Screen pixels: four tools, or three answers, fit beside each other; a long answer is whole in its tooltip."""

ANSWERS_PER_ROW = 3
UNKNOWN = "not labelled"


class LabelTools(QWidget):
    """Answers and tools for the task that is labelled.

    Parameters
    ----------
    session
        The session.
    layers
        Labelling on the slide; None without a viewer.
    """

    def __init__(self, session: Session, layers: LabelLayers | None) -> None:
        super().__init__()
        self.setObjectName("label-tools")
        self._session = session
        self._layers = layers
        self._task: TaskDraft | None = None
        self._answers = QGridLayout()
        self._answers.setSpacing(3)
        self._group = QButtonGroup(self)
        self._number = QDoubleSpinBox()
        describe(self._number, "label-number", "The number that labelled tiles get.")
        read_point_and_comma(self._number)
        self._number.setDecimals(3)
        self._number.valueChanged.connect(self._hold)
        self._tools: dict[Tool, QPushButton] = {tool: self._tool_button(tool) for tool in TOOL_WORDS}
        self._help = PlainLabel("label-help", tooltip="What the tool in hand does.")
        self._undo = self._button(f"Undo ({key_words(UNDO_KEY)})", "label-undo", "Take back what you labelled last.")
        self._undo.clicked.connect(lambda: session.labels.undo())
        self._redo = self._button("Redo", "label-redo", f"Bring back what was undone ({key_words(REDO_KEY)}).")
        self._redo.clicked.connect(lambda: session.labels.redo())
        self._slide = QComboBox()
        describe(self._slide, "label-slide", "What is true of the slide as a whole, where you know it.")
        self._slide.activated.connect(self._label_slide)
        self._slide_row = QWidget()
        self._build()
        self._bridge = bridge = Bridge(session, self)
        bridge.labels_changed.connect(self.show_labels)
        if layers is not None:
            layers.changed.connect(self._show_tool)
        self.show_labels()

    def show_labels(self) -> None:
        """Show what can be done for the task that is labelled now."""
        labels = self._session.labels
        if labels.task != self._task:
            self._task = labels.task
            self._show_answers()
        ready = self._task is not None and labels.place is not None
        self.setVisible(self._task is not None)
        for button in self._tools.values():
            button.setEnabled(ready and self._layers is not None)
        self._undo.setEnabled(labels.can_undo)
        self._redo.setEnabled(labels.can_redo)
        self._slide_row.setVisible(ready)
        known = labels.labels.slide
        if self._task is not None and self._task.kind is TaskKind.REGRESSION:
            self._slide.setItemText(
                1, f"the number above{f' ({self._task.words(known)})' if known is not None else ''}"
            )
            self._slide.setCurrentIndex(int(known is not None))
        else:
            self._slide.setCurrentIndex(0 if known is None else max(self._slide.findData(known), 0))
        self._show_tool()

    def _build(self) -> None:
        tools = QHBoxLayout()
        tools.setSpacing(3)
        for button in self._tools.values():
            tools.addWidget(button, 1)
        steps = QHBoxLayout()
        steps.addWidget(self._undo)
        steps.addWidget(self._redo)
        slide = QHBoxLayout(self._slide_row)
        slide.setContentsMargins(0, 0, 0, 0)
        slide.addWidget(QLabel("Whole slide"))
        slide.addWidget(self._slide, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(self._answers)
        layout.addWidget(self._number)
        layout.addLayout(tools)
        layout.addWidget(self._help)
        layout.addLayout(steps)
        layout.addWidget(self._slide_row)

    def _button(self, text: str, name: str, tooltip: str) -> QPushButton:
        button = QPushButton(text)
        describe(button, name, tooltip)
        return button

    def _tool_button(self, tool: Tool) -> QPushButton:
        words, tooltip = TOOL_WORDS[tool]
        button = self._button(words, f"label-tool-{tool.name.lower()}", tooltip)
        button.setMinimumWidth(NARROWEST_BUTTON)
        button.setCheckable(True)
        button.clicked.connect(self._taker(tool))
        return button

    def _taker(self, tool: Tool) -> Callable[[bool], None]:
        def take(wanted: bool) -> None:
            if self._layers is not None:
                self._layers.use(tool if wanted else Tool.NONE)

        return take

    def _show_answers(self) -> None:
        """Make one button per answer, or a field for the number."""
        for button in self._group.buttons():
            self._group.removeButton(button)
            self._answers.removeWidget(button)
            button.hide()
            button.setParent(None)
            button.deleteLater()
        draft = self._task
        regression = draft is not None and draft.kind is TaskKind.REGRESSION
        self._number.setVisible(regression)
        self._slide.clear()
        self._slide.addItem(UNKNOWN, None)
        if draft is None:
            return
        if regression:
            self._number.blockSignals(True)
            self._number.setRange(draft.low, draft.high)
            self._number.setSingleStep((draft.high - draft.low) / 10)
            self._number.setValue(draft.high)
            self._number.setSuffix(f" {draft.unit}" if draft.unit else "")
            self._number.blockSignals(False)
            self._slide.addItem("the number above", -1.0)
            return
        for value, name in enumerate(draft.classes):
            button = QPushButton(_swatch(draft.colours[value]), f"{value + 1}  {name}".replace("&", "&&"))
            describe(
                button,
                f"label-answer-{value}",
                f"Give tiles the answer {name!r}; key {value + 1} over a tile does it too.",
            )
            button.setCheckable(True)
            button.setMinimumWidth(NARROWEST_BUTTON)
            button.clicked.connect(lambda _=False, value=value: self._hold(float(value)))
            self._group.addButton(button, value)
            per_row = min(ANSWERS_PER_ROW, len(draft.classes))
            self._answers.addWidget(button, value // per_row, value % per_row)
            self._slide.addItem(_swatch(draft.colours[value]), name, float(value))

    def _hold(self, value: float) -> None:
        if self._layers is not None:
            self._layers.hold(value)

    def _show_tool(self) -> None:
        layers = self._layers
        tool = layers.tool if layers is not None else Tool.NONE
        for each, button in self._tools.items():
            button.setChecked(each is tool)
        self._help.say(TOOL_HELP.get(tool, ""))
        if layers is not None and (button := self._group.button(int(layers.value))) is not None:
            button.setChecked(True)

    def _label_slide(self, index: int) -> None:
        value = self._slide.itemData(index)
        if value is not None and self._task is not None and self._task.kind is TaskKind.REGRESSION:
            value = self._number.value()
        try:
            self._session.labels.label_slide(value)
        except ValueError as error:
            self._session.say(Level.WARNING, str(error))


def _swatch(colour: str) -> QIcon:
    """Return a square of a colour; a frame keeps it apart from both themes' windows."""
    picture = QPixmap(SWATCH, SWATCH)
    picture.fill(QColor(colour))
    return QIcon(picture)
