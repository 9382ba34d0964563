"""Which task is labelled: one of the model's, one that was begun before, or a new one."""

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_mtlpath.session.card_words import task_words
from napari_mtlpath.session.session import Session
from napari_mtlpath.session.wording import task_title
from napari_mtlpath.viewer.bridge import Bridge
from napari_mtlpath.viewer.docks.elided_box import ElidedBox
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe, plain_tooltip
from napari_mtlpath.viewer.docks.task_form import TaskForm

if TYPE_CHECKING:
    from napari_mtlpath.review.task_draft import TaskDraft

NOTHING = "Choose a task to label…"


class TaskChooser(QWidget):
    """A list of tasks, what the model's card says about them, and the form for a new one."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("task-chooser")
        self._session = session
        self._entries: list[tuple[str, str]] = []
        self._list = ElidedBox()
        describe(self._list, "task-list", "The task that labels are made for: a new one, or one of the model's own.")
        self._list.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._list.setMinimumContentsLength(12)
        self._list.activated.connect(self._choose)
        self._new = QPushButton("New task…")
        describe(self._new, "task-new", "Describe something that the model does not know yet.")
        self._new.clicked.connect(self._open_form)
        self._about = QToolButton()
        describe(self._about, "task-about", "What the model can do already: its tasks, and how well it does them.")
        self._about.setText("Tasks of this model")
        self._about.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._about.setArrowType(Qt.ArrowType.RightArrow)
        self._about.setCheckable(True)
        self._about.toggled.connect(self._show_cards)
        self._cards = PlainLabel("task-cards", tooltip="The tasks of the model, from its card.")
        self._form = TaskForm()
        self._form.made.connect(self._make)
        self._form.cancelled.connect(self._form.hide)
        self._form.hide()
        row = QHBoxLayout()
        row.addWidget(self._list, 1)
        row.addWidget(self._new)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (self._about, self._cards):
            layout.addWidget(part)
        layout.addLayout(row)
        layout.addWidget(self._form)
        self._bridge = bridge = Bridge(session, self)
        for news in (bridge.model_changed, bridge.tasks_changed, bridge.labels_changed):
            news.connect(self.show_tasks)
        self.show_tasks()

    def show_tasks(self, _: object = None) -> None:
        """List the tasks that can be labelled now."""
        labels, model = self._session.labels, self._session.slide_model
        drafts = {draft.name: draft.shown for draft in labels.drafts}
        own = {task.name: task_title(task) for task in (model.tasks if model is not None else ())}
        entries = [("", NOTHING)]
        entries += [(name, title) for name, title in drafts.items() if name not in own]
        entries += [(name, f"{title} (of this model)") for name, title in own.items()]
        if entries != self._entries:
            self._entries = entries
            self._list.clear()
            for index, (name, title) in enumerate(entries):
                self._list.addItem(title)
                hint = "Label more tiles for a task that the model has." if name in own else ""
                self._list.setItemData(index, plain_tooltip(hint), Qt.ItemDataRole.ToolTipRole)
        present = labels.task.name if labels.task is not None else ""
        names = [name for name, _ in self._entries]
        self._list.setCurrentIndex(names.index(present) if present in names else 0)
        self._about.setVisible(model is not None)
        self._show_cards(self._about.isChecked())

    def _choose(self, index: int) -> None:
        name = self._entries[index][0] if 0 <= index < len(self._entries) else ""
        labels, model = self._session.labels, self._session.slide_model
        own = {task.name for task in (model.tasks if model is not None else ())}
        try:
            if name in own:
                labels.choose_existing(name)
            else:
                labels.choose(name or None)
        except ValueError as error:
            self._form.refuse(str(error))

    def _open_form(self) -> None:
        self._form.open()

    def _make(self, draft: "TaskDraft") -> None:
        model = self._session.slide_model
        if model is not None and draft.name in {task.name for task in model.tasks}:
            self._form.refuse(f"The model has a task {draft.shown!r} already. Choose it in the list, or another name.")
            return
        try:
            self._session.labels.define(draft)
        except ValueError as error:
            self._form.refuse(str(error))
            return
        self._form.hide()

    def _show_cards(self, wanted: bool) -> None:
        model = self._session.slide_model
        shown = bool(wanted) and model is not None
        self._about.setArrowType(Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow)
        self._cards.say("\n\n".join(task_words(model.card, task) for task in model.tasks) if shown and model else "")
