"""The one dock: every section, to open and close, in one column beside the slide."""

from collections.abc import Callable
from dataclasses import dataclass

import napari
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_mtlpath.session.preferences import PanelPreferences
from napari_mtlpath.session.session import Session
from napari_mtlpath.viewer.binding import session_of
from napari_mtlpath.viewer.docks.collapsible import Collapsible
from napari_mtlpath.viewer.docks.errand import send_for
from napari_mtlpath.viewer.docks.gallery_section import GalleryForm
from napari_mtlpath.viewer.docks.model_section import ModelForm
from napari_mtlpath.viewer.docks.overlay_section import OverlayForm
from napari_mtlpath.viewer.docks.section import SectionDock
from napari_mtlpath.viewer.docks.slide_section import SlideForm
from napari_mtlpath.viewer.docks.tasks_section import TasksForm
from napari_mtlpath.viewer.docks.teach_section import TeachForm


@dataclass(frozen=True, kw_only=True)
class SectionEntry:
    """A section of the panel.

    Attributes
    ----------
    name
        Stable name, under which it is remembered whether the section was open.
    title
        Heading.
    make
        Makes the section's content for a session and a viewer.
    """

    name: str
    title: str
    make: Callable[[Session, "napari.Viewer | None"], QWidget]


SECTIONS = (
    SectionEntry(name="slide", title="Slide", make=SlideForm),
    SectionEntry(name="model", title="Model and predictions", make=ModelForm),
    SectionEntry(name="overlays", title="Overlays", make=OverlayForm),
    SectionEntry(name="gallery", title="Gallery", make=GalleryForm),
    SectionEntry(name="tasks", title="Tasks and labels", make=TasksForm),
    SectionEntry(name="teach", title="Fine-tune", make=TeachForm),
)
"""What the panel shows, from top to bottom. A new section is one file and one line here."""


class PanelForm(QWidget):
    """All sections below each other.

    Parameters
    ----------
    session
        The session.
    viewer
        The viewer, or None without one.
    preferences
        Where it is kept which sections are open.
    """

    def __init__(
        self, session: Session, viewer: "napari.Viewer | None" = None, *, preferences: PanelPreferences | None = None
    ) -> None:
        super().__init__()
        self.setObjectName("panel-form")
        self._preferences = preferences if preferences is not None else PanelPreferences()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        self._sections = [Collapsible(entry.name, entry.title, entry.make(session, viewer)) for entry in SECTIONS]
        for section in self._sections:
            layout.addWidget(section)
            section.toggled.connect(self._remember)
        layout.addStretch(1)
        send_for(self, self._preferences.read, on_done=self._recall)

    def _recall(self, kept: dict[str, bool]) -> None:
        for section in self._sections:
            section.blockSignals(True)
            section.set_open(kept.get(section.name, True))
            section.blockSignals(False)

    def _remember(self, _name: str, _is_open: bool) -> None:
        states = {section.name: section.is_open for section in self._sections}
        send_for(self, lambda: self._preferences.write(states))


class PathologyPanel(SectionDock):
    """Everything in one dock: Plugins > MTLPath > Pathology panel."""

    def __init__(self, viewer: napari.Viewer) -> None:
        session = session_of(viewer)
        super().__init__(session, PanelForm(session, viewer), viewer)
