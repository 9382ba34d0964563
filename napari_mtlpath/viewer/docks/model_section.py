"""The model and what it says: chooser, card, and predictions."""

import napari
from qtpy.QtWidgets import QFrame, QVBoxLayout, QWidget

from napari_mtlpath.session.session import Session
from napari_mtlpath.viewer.binding import session_of
from napari_mtlpath.viewer.docks.model_chooser import ModelChooser
from napari_mtlpath.viewer.docks.predictions import PredictionsForm
from napari_mtlpath.viewer.docks.section import SectionDock


class ModelForm(QWidget):
    """Model chooser above, predictions below.

    Parameters
    ----------
    session
        The session.
    _viewer
        Not used; every section is made alike.
    """

    def __init__(self, session: Session, _viewer: "napari.Viewer | None" = None) -> None:
        super().__init__()
        self.setObjectName("model-form")
        self._chooser = ModelChooser(session)
        self._predictions = PredictionsForm(session)
        line = QFrame()
        line.setObjectName("model-line")
        line.setFrameShape(QFrame.Shape.HLine)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 6)
        layout.addWidget(self._chooser)
        layout.addWidget(line)
        layout.addWidget(self._predictions)


class ModelSection(SectionDock):
    """The Model and predictions section as a dock of its own."""

    def __init__(self, viewer: napari.Viewer) -> None:
        session = session_of(viewer)
        super().__init__(session, ModelForm(session, viewer), viewer)
