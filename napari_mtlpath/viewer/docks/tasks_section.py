"""Tasks: what the model can do, what it should learn, and the labels that teach it."""

import napari
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_mtlpath.session.session import Session
from napari_mtlpath.viewer.binding import binding_of, session_of
from napari_mtlpath.viewer.bridge import Bridge
from napari_mtlpath.viewer.docks.label_counts import LabelCounts
from napari_mtlpath.viewer.docks.label_exchange import LabelExchange
from napari_mtlpath.viewer.docks.label_gallery import LabelGallery
from napari_mtlpath.viewer.docks.label_tools import LabelTools
from napari_mtlpath.viewer.docks.labels import PlainLabel
from napari_mtlpath.viewer.docks.section import SectionDock
from napari_mtlpath.viewer.docks.slide_view import SlideView
from napari_mtlpath.viewer.docks.task_chooser import TaskChooser


class TasksForm(QWidget):
    """Everything about tasks and labels, from choosing a task to exporting its labels.

    Parameters
    ----------
    session
        The session.
    viewer
        On whose canvas tiles are labelled; None without one.
    """

    def __init__(self, session: Session, viewer: "napari.Viewer | None" = None) -> None:
        super().__init__()
        self.setObjectName("tasks-form")
        self._session = session
        layers = binding_of(viewer).label_layers if viewer is not None else None
        self._next = PlainLabel("tasks-next", tooltip="What to do next.", strong=True)
        self._gallery = LabelGallery(session, SlideView(viewer))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 6)
        layout.setSpacing(6)
        layout.addWidget(TaskChooser(session))
        layout.addWidget(self._next)
        layout.addWidget(LabelTools(session, layers))
        layout.addWidget(LabelCounts(session))
        layout.addWidget(self._gallery)
        layout.addWidget(LabelExchange(session))
        layout.addStretch(1)
        self._bridge = bridge = Bridge(session, self)
        for news in (bridge.labels_changed, bridge.slide_changed, bridge.model_changed):
            news.connect(self._show_next)
        session.labels.wake()
        self._show_next()

    def _show_next(self, _: object = None) -> None:
        self._next.say(self._session.unteachable or self._session.labels.next_step())


class TasksSection(SectionDock):
    """The Tasks section as a dock of its own."""

    def __init__(self, viewer: napari.Viewer) -> None:
        session = session_of(viewer)
        super().__init__(session, TasksForm(session, viewer), viewer)
