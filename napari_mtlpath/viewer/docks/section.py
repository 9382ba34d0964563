"""The frame around sections, in the panel and in docks of their own: messages above, the research notice below."""

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from napari_mtlpath.session.session import Session
from napari_mtlpath.session.wording import RESEARCH_USE
from napari_mtlpath.viewer.docks.labels import PlainLabel
from napari_mtlpath.viewer.docks.notice import NoticeBar
from napari_mtlpath.viewer.docks.shortcuts import KeyHold

if TYPE_CHECKING:
    import napari

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
    viewer
        Where the docks' keys work while this one is part of a window; None without one.
    """

    def __init__(self, session: Session, content: QWidget, viewer: "napari.Viewer | None" = None) -> None:
        super().__init__()
        self._keys = KeyHold(viewer, session) if viewer is not None else None
        if self._keys is not None:
            self.destroyed.connect(self._keys.release)
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

    def event(self, event: QEvent) -> bool:
        """Take the keys when napari puts the dock into its window, and give them back when it takes it out."""
        if event.type() == QEvent.Type.ParentChange and self._keys is not None:
            if self.parent() is None:
                self._keys.release()
            else:
                self._keys.hold()
        return bool(super().event(event))

    def sizeHint(self) -> QSize:
        """Ask for a width that leaves room for the slide."""
        return QSize(WIDTH, super().sizeHint().height())
