"""Which other tasks with labels learn together with the one that is labelled now."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_mtlpath.session.session import Session
from napari_mtlpath.tasks import Task
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe


class TeachTogether(QWidget):
    """One box per other labelled task; hidden where there is none.

    Parameters
    ----------
    session
        The session.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("teach-together")
        self._session = session
        self._boxes: dict[str, QCheckBox] = {}
        self._tasks: dict[str, tuple[Task, int]] = {}
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(2)
        self._layout.addWidget(PlainLabel("teach-together-words", "Teach in the same run, too:", tooltip=_TIP))
        self.hide()

    @property
    def chosen(self) -> tuple[Task, ...]:
        """The ticked tasks."""
        return tuple(self._tasks[name][0] for name, box in self._boxes.items() if box.isChecked())

    @property
    def labels(self) -> int:
        """How many labels the ticked tasks have."""
        return sum(self._tasks[name][1] for name, box in self._boxes.items() if box.isChecked())

    def count(self) -> None:
        """Look which tasks have labels; ticks of those that stay are kept."""
        labels, model = self._session.labels, self._session.slide_model
        found = labels.others() if model is not None and labels.task is not None else ()
        self._tasks = {draft.name: (draft.task, count) for draft, count in found}
        for name in [name for name in self._boxes if name not in self._tasks]:
            box = self._boxes.pop(name)
            box.hide()
            box.deleteLater()
        own = {task.name for task in model.tasks} if model is not None else set()
        for draft, count in found:
            kind = "the model's own, taught further" if draft.name in own else "new"
            text = f"{draft.shown} ({count:,} label{'' if count == 1 else 's'}; {kind})"
            self._box(draft.name).setText(text.replace("&", "&&"))
        self.setVisible(bool(self._boxes))

    def enable(self, enabled: bool) -> None:
        """Let the user tick, or not."""
        for box in self._boxes.values():
            box.setEnabled(enabled)

    def _box(self, name: str) -> QCheckBox:
        if name not in self._boxes:
            box = self._boxes[name] = QCheckBox()
            describe(box, f"teach-together-{name}", _TIP)
            box.toggled.connect(lambda _: self.changed.emit())
            self._layout.addWidget(box)
        return self._boxes[name]


_TIP = "Ticked tasks learn in the same run, from their own labels. In the mode 'shared' the balancer weighs them."
