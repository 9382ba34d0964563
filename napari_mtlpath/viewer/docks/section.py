"""The frame around sections, in the panel and in docks of their own: messages above, the research notice below."""

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from napari_mtlpath.session.session import Session
from napari_mtlpath.session.wording import RESEARCH_USE
from napari_mtlpath.viewer.docks.labels import PlainLabel
from napari_mtlpath.viewer.docks.notice import NoticeBar

WIDTH = 340
"""Width in pixels that leaves a usable canvas on a screen of 1280 x 800."""

NARROWEST = 300


class SectionDock(QWidget):
    """Content that scrolls, between the session's messages and the line that never goes away.

    Parameters
    ----------
    session
        The session.
    content
        What is shown.
    """

    def __init__(self, session: Session, content: QWidget) -> None:
        super().__init__()
        self.setObjectName(f"dock-{content.objectName()}")
        self.setMinimumWidth(NARROWEST)
        self._scroll = QScrollArea()
        self._scroll.setObjectName("dock-scroll")
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setWidget(content)
        research = PlainLabel(
            "research-use", RESEARCH_USE, tooltip="Nothing here was tested or approved for patient care.", strong=True
        )
        research.setAlignment(Qt.AlignmentFlag.AlignCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 4)
        layout.setSpacing(2)
        layout.addWidget(NoticeBar(session))
        layout.addWidget(self._scroll, 1)
        layout.addWidget(research)

    def sizeHint(self) -> QSize:
        """Ask for a width that leaves room for the slide."""
        return QSize(WIDTH, super().sizeHint().height())
