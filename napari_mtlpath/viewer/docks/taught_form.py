"""What becomes of what was taught: saved as a new model, taken back, or a task removed again."""

from collections.abc import Callable

from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.session import Session
from napari_mtlpath.session.taught_tasks import taught_tasks
from napari_mtlpath.session.teaching_view import TeachingPhase, TeachingView
from napari_mtlpath.session.wording import task_title
from napari_mtlpath.viewer.docks.elided_box import ElidedBox
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe


class TaughtForm(QWidget):
    """Name and buttons for a finished training, and for tasks that were taught before.

    Parameters
    ----------
    session
        The session.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("taught-form")
        self._session = session
        self._suggested = ""
        self._name = QLineEdit()
        describe(self._name, "taught-name", "The new model's name: letters, digits, '-', '_' and '.'.")
        self._save = _button("Save as new model", "taught-save", _SAVE_TIP, self.save)
        self._discard = _button("Discard", "taught-discard", _DISCARD_TIP, session.teaching.discard)
        self._undo = _button("", "taught-undo", _UNDO_TIP, session.teaching.undo)
        self._problem = PlainLabel("taught-problem", tooltip="Why it was not saved.")
        self._tasks = ElidedBox()
        describe(self._tasks, "taught-tasks", "Tasks that this model was taught after its training.")
        self._remove = _button("Remove task", "taught-remove", _REMOVE_TIP, self.remove)
        self._saving, self._removing = QWidget(), QWidget()
        self._build()

    def save(self) -> None:
        """Save what was taught under the name in the field."""
        self._try(lambda: self._session.teaching.save(self._name.text().strip()))

    def remove(self) -> None:
        """Save the model in use without the chosen task, as a new model."""
        task, model = self._tasks.currentData(), self._session.slide_model
        if task is not None and model is not None:
            self._try(lambda: self._session.teaching.remove_task(task))

    def show_view(self, view: TeachingView) -> None:
        """Show what can be done now."""
        phase = view.phase
        done = phase is TeachingPhase.DONE
        self._saving.setVisible(done or phase is TeachingPhase.SAVING)
        self._save.setEnabled(view.can_be_saved)
        self._name.setEnabled(view.can_be_saved)
        if view.suggested != self._suggested:
            self._suggested = view.suggested
            self._name.setText(view.suggested)
        self._discard.setVisible(done or phase is TeachingPhase.STOPPED)
        self._undo.setVisible(phase is TeachingPhase.SAVED)
        self._undo.setText(f"Undo: back to {view.parent}".replace("&", "&&"))
        self._problem.say(view.problem if done or phase is TeachingPhase.IDLE else "")
        self._show_tasks(busy=phase.busy)

    def _show_tasks(self, *, busy: bool) -> None:
        model = self._session.slide_model
        taught = taught_tasks(model.card) if model is not None else ()
        shown = [self._tasks.itemData(index) for index in range(self._tasks.count())]
        if shown != [task.name for task in taught]:
            self._tasks.clear()
            for task in taught:
                self._tasks.addItem(task_title(task), task.name)
        self._removing.setVisible(bool(taught) and not busy)

    def _build(self) -> None:
        saving = QHBoxLayout(self._saving)
        saving.setContentsMargins(0, 0, 0, 0)
        saving.addWidget(self._name, 1)
        saving.addWidget(self._save)
        removing = QHBoxLayout(self._removing)
        removing.setContentsMargins(0, 0, 0, 0)
        removing.addWidget(self._tasks, 1)
        removing.addWidget(self._remove)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self._saving, self._discard, self._undo, self._problem, self._removing):
            layout.addWidget(widget)

    def _try(self, verb: Callable[[], object]) -> None:
        try:
            verb()
        except ValueError as error:
            self._session.say(Level.WARNING, str(error))


def _button(text: str, name: str, tooltip: str, action: Callable[[], object]) -> QPushButton:
    button = QPushButton(text)
    describe(button, name, tooltip)
    button.clicked.connect(lambda: action())
    return button


_SAVE_TIP = "Write a new model folder with the new task and use it at once; the model of before stays as it is."
_DISCARD_TIP = "Drop what was taught and not saved. The model of before was never touched, and your labels stay."
_UNDO_TIP = "Use the model of before again. The saved one stays in the list of models."
_REMOVE_TIP = "Save this model without the chosen task, as a new model, and use that."
