"""The open slide: what it is, where one is on it, how large its pixels are; or how to open one."""

from typing import TYPE_CHECKING

import napari
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QBoxLayout, QFormLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_mtlpath.session.former import go_back
from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.session import Session
from napari_mtlpath.session.wording import format_words, level_words, size_words, unreadable_words
from napari_mtlpath.viewer.binding import session_of
from napari_mtlpath.viewer.bridge import Bridge
from napari_mtlpath.viewer.docks.errand import send_for
from napari_mtlpath.viewer.docks.label_form import LabelForm
from napari_mtlpath.viewer.docks.labels import ElidedLabel, PlainLabel, describe, plain_tooltip
from napari_mtlpath.viewer.docks.minimap import Minimap
from napari_mtlpath.viewer.docks.opening import OpenSlideForm
from napari_mtlpath.viewer.docks.pictures import picture_of
from napari_mtlpath.viewer.docks.scale_form import ScaleForm
from napari_mtlpath.viewer.docks.section import SectionDock
from napari_mtlpath.viewer.docks.slide_view import SlideView
from napari_mtlpath.viewer.worker import sentence_of

if TYPE_CHECKING:
    from qtpy.QtGui import QImage

    from napari_mtlpath.slides.slide import Slide

OVERVIEW_PX = 640
"""Longer side of the overview that is read for the minimap: sharp on a screen with doubled pixels."""

LONGEST_NAME = 200
"""Screen pixels of a slide's name on a button."""

TALL = 0.9
"""A slide at least this high for its width has its facts beside the overview, not below it."""


class SlideForm(QWidget):
    """Everything about the session's slide.

    Parameters
    ----------
    session
        The session.
    viewer
        Whose camera the minimap follows and moves; None without one.
    """

    def __init__(self, session: Session, viewer: "napari.Viewer | None" = None) -> None:
        super().__init__()
        self.setObjectName("slide-form")
        self._session = session
        self._view = SlideView(viewer)
        self._shown: Slide | None = None
        self._opening = OpenSlideForm(session)
        self._details = QWidget()
        self._details.setObjectName("slide-details")
        self._name = ElidedLabel("slide-name", strong=True)
        self._minimap = Minimap()
        self._minimap.moved.connect(self._view.centre_on)
        self._format = PlainLabel("slide-format", tooltip="The kind of file.")
        self._size = PlainLabel("slide-size", tooltip="Width and height of the full resolution.")
        self._scale = ScaleForm(session)
        self._warnings = PlainLabel("slide-warnings", tooltip="What was odd about the file when it was opened.")
        self._unreadable = PlainLabel("slide-unreadable", tooltip="Damaged places of the file met so far.")
        self._back = QPushButton()
        describe(self._back, "slide-back", "Open the slide again that was open before; what was analysed is kept.")
        self._back.clicked.connect(self._go_back)
        self._label_button = QPushButton()
        self._label = LabelForm(session, self._label_button)
        self._upper = QBoxLayout(QBoxLayout.Direction.TopToBottom)
        self._build()
        self._bridge = bridge = Bridge(session, self)
        bridge.slide_changed.connect(self._show)
        bridge.resolution_changed.connect(self._show_facts)
        bridge.report_changed.connect(self._show_unreadable)
        self._view.on_move(self._follow)
        self._show()

    def _build(self) -> None:
        facts = QFormLayout()
        facts.setContentsMargins(0, 0, 0, 0)
        facts.setVerticalSpacing(2)
        facts.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        for title, value in (("Format", self._format), ("Size", self._size)):
            facts.addRow(QLabel(title), value)
        another = QPushButton("Open…")
        describe(another, "slide-open-another", "Choose another slide file; this one is closed when it opens.")
        another.clicked.connect(self._opening.choose)
        closing = QPushButton("Close")
        describe(closing, "slide-close", "Close the slide and free its memory.")
        closing.clicked.connect(self._session.close_slide)
        buttons = QHBoxLayout()
        buttons.addWidget(another)
        buttons.addWidget(closing)
        buttons.addWidget(self._label_button)
        inner = QVBoxLayout(self._details)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(5)
        inner.addWidget(self._name)
        self._upper.addWidget(self._minimap)
        self._upper.addLayout(facts, 1)
        inner.addLayout(self._upper)
        for widget in (self._scale, self._warnings, self._unreadable):
            inner.addWidget(widget)
        inner.addLayout(buttons)
        inner.addWidget(self._back)
        inner.addWidget(self._label)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 6)
        layout.addWidget(self._opening)
        layout.addWidget(self._details)

    def _show(self, _: object = None) -> None:
        """Show the slide that is open now, or how to open one."""
        slide = self._session.slide
        self._opening.setVisible(slide is None)
        self._details.setVisible(slide is not None)
        if slide is self._shown:
            return
        self._shown = slide
        self._label.show_slide()
        if slide is None:
            return
        self._name.say(slide.name)
        self._show_former()
        self._show_facts()
        beside = slide.height > slide.width * TALL
        self._upper.setDirection(QBoxLayout.Direction.LeftToRight if beside else QBoxLayout.Direction.TopToBottom)
        self._minimap.show_slide(slide.height, slide.width, as_wide_as_needed=beside)
        self._follow()

        def show(picture: "QImage") -> None:
            if self._shown is slide:
                self._minimap.show_picture(picture)

        send_for(self, lambda: picture_of(slide.thumbnail(OVERVIEW_PX)), on_done=show, on_error=lambda _: None)

    def _show_facts(self, _: object = None) -> None:
        slide = self._session.slide
        if slide is None:
            return
        self._format.say(format_words(slide))
        self._size.say(size_words(slide))
        self._format.setToolTip(plain_tooltip(f"The kind of file. Resolutions: {level_words(slide)}."))
        self._warnings.say("\n".join(slide.facts.warnings))
        self._scale.show_slide()
        self._show_unreadable()

    def _show_former(self) -> None:
        former = self._session.former
        self._back.setVisible(former is not None)
        if former is not None:
            name = self._back.fontMetrics().elidedText(former.name, Qt.TextElideMode.ElideMiddle, LONGEST_NAME)
            self._back.setText(f"Back to {name}".replace("&", "&&"))

    def _go_back(self) -> None:
        session = self._session
        send_for(self, lambda: go_back(session), on_error=lambda error: session.say(Level.ERROR, sentence_of(error)))

    def _show_unreadable(self, _: object = None) -> None:
        slide = self._session.slide
        self._unreadable.say(unreadable_words(slide.unreadable_tiles) if slide is not None else "")

    def _follow(self) -> None:
        self._minimap.show_rect(self._view.rect())


class SlideSection(SectionDock):
    """The Slide section as a dock of its own."""

    def __init__(self, viewer: napari.Viewer) -> None:
        session = session_of(viewer)
        super().__init__(session, SlideForm(session, viewer), viewer)
