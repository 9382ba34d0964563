"""What a gallery is ordered by: task, kind of value, direction, number of tiles."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QLabel, QSpinBox, QWidget

from napari_mtlpath.session.gallery import LONGEST, GalleryOrder, kinds_of
from napari_mtlpath.session.overlay import OverlayKind
from napari_mtlpath.session.session import Session
from napari_mtlpath.session.wording import KIND_TITLES, task_title
from napari_mtlpath.viewer.docks.elided_box import ElidedBox
from napari_mtlpath.viewer.docks.labels import describe

DIRECTIONS = (("Highest first", True), ("Lowest first", False))
USUAL_COUNT = 48
COUNT_STEP = 16


class GalleryOrderForm(QWidget):
    """Lists of what there is to choose from; only what the model gives for the open slide is offered."""

    changed = Signal()
    """The user chose another order."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("gallery-order")
        self._session = session
        self._task = self._list("gallery-task", "Whose tiles are shown.")
        self._kind = self._list("gallery-kind", "Which of the task's heatmaps orders the tiles.")
        self._direction = self._list("gallery-direction", "Which end of the order comes first.")
        for text, _ in DIRECTIONS:
            self._direction.addItem(text)
        self._count = QSpinBox()
        describe(self._count, "gallery-count", f"How many tiles, up to {LONGEST}; they come in pages.")
        self._count.setRange(1, LONGEST)
        self._count.setSingleStep(COUNT_STEP)
        self._count.setValue(USUAL_COUNT)
        self._count.setSuffix(" tiles")
        self._count.setKeyboardTracking(False)
        self._count.valueChanged.connect(self.changed)
        self._build()

    @property
    def has_tasks(self) -> bool:
        """Whether there is a task to choose."""
        return self._task.count() > 0

    @property
    def order(self) -> GalleryOrder | None:
        """What is chosen, or None where the tiles cannot be ordered."""
        task, kind = self._task.currentData(), self._kind.currentData()
        if task is None or kind is None:
            return None
        _, highest = DIRECTIONS[self._direction.currentIndex()]
        return GalleryOrder(task=task, kind=OverlayKind(kind), highest=highest, count=self._count.value())

    def show_choices(self) -> None:
        """Offer the tasks and kinds that there are now, and keep what is chosen where it is among them."""
        result, tasks = self._session.result, self._session.tasks
        ordering = [task for task in tasks if kinds_of(result, task.name)] or tasks  # not those asked of pixels alone
        _offer(self._task, [(task_title(task), task.name) for task in ordering])
        kinds = kinds_of(result, self._task.currentData())
        _offer(self._kind, [(KIND_TITLES[kind], kind.value) for kind in kinds])
        self.setVisible(self.has_tasks)
        for part in (self._kind, self._direction, self._count):
            part.setEnabled(bool(kinds))

    def _list(self, name: str, tooltip: str) -> QComboBox:
        box = ElidedBox()
        describe(box, name, tooltip)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(9)
        box.activated.connect(self.changed)
        return box

    def _build(self) -> None:
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(4)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow(QLabel("Task"), self._task)
        form.addRow(QLabel("Order by"), self._kind)
        row = QHBoxLayout()
        row.addWidget(self._direction, 1)
        row.addWidget(self._count)
        form.addRow(QLabel("Show"), row)


def _offer(box: QComboBox, entries: list[tuple[str, str]]) -> None:
    """Fill a list, unless it holds just that, and keep its choice where it can be kept."""
    if [(box.itemText(row), box.itemData(row)) for row in range(box.count())] == entries:
        return
    chosen = box.currentData()
    box.clear()
    for text, data in entries:
        box.addItem(text, data)
    box.setCurrentIndex(max(0, box.findData(chosen)) if entries else -1)
