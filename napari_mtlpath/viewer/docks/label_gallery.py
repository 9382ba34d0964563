"""Tiles side by side, suggested ones or labelled ones, answered with one key each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QKeyEvent, QMouseEvent
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_mtlpath.review.events import Origin
from napari_mtlpath.session.label_place import LabelPlace
from napari_mtlpath.session.label_suggestions import suggested_tiles
from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.session import Session
from napari_mtlpath.viewer.bridge import Bridge
from napari_mtlpath.viewer.docks.errand import send_for
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe
from napari_mtlpath.viewer.docks.slide_view import SlideView
from napari_mtlpath.viewer.docks.thumbnails import PER_ROW, Thumbnail, send_for_pictures, show_pictures
from napari_mtlpath.viewer.worker import sentence_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHOWN = 12
SKIP_KEY, BACK_KEYS = Qt.Key.Key_Space, (Qt.Key.Key_Delete, Qt.Key.Key_Backspace)
SUGGESTED_HELP = "Press 1 to 9 for the framed tile's answer, Space to skip it, Delete to take it back."


class LabelGallery(QWidget):
    """Thumbnails of suggested or labelled tiles; tiles are read by a worker through the session's cache.

    Parameters
    ----------
    session
        The session.
    view
        Moves the camera to a tile.
    """

    def __init__(self, session: Session, view: SlideView) -> None:
        super().__init__()
        self.setObjectName("label-gallery")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._session = session
        self._view = view
        self._place: LabelPlace | None = None
        self._indices: tuple[int, ...] = ()
        self._asked = 0
        self._seed = 0
        self._looking = False
        self._suggest = self._button("Suggest tiles", "gallery-suggest", "Tiles whose answer would teach most.")
        self._suggest.clicked.connect(self.suggest)
        self._marked = self._button("Show labelled", "gallery-marked", "The tiles labelled last, to look at again.")
        self._marked.clicked.connect(self.show_marked)
        self._help = PlainLabel("gallery-help", tooltip="Keys work while the gallery has the focus: click into it.")
        self._thumbnails = [Thumbnail(f"gallery-tile-{number}") for number in range(SHOWN)]
        self._build()
        self._bridge = bridge = Bridge(session, self)
        bridge.labels_changed.connect(self.show_labels)
        bridge.slide_changed.connect(self.show_labels)
        self.show_labels()

    @property
    def indices(self) -> tuple[int, ...]:
        """The tiles that are shown."""
        return self._indices

    @property
    def asked(self) -> int | None:
        """The tile that keys answer, or None where there is none."""
        return self._indices[self._asked] if self._asked < len(self._indices) else None

    def suggest(self) -> None:
        """Look for tiles to label next, in the background."""
        session, place = self._session, self._session.labels.place
        if place is None or self._looking:
            return
        self._looking = True
        self._seed += 1
        seed = self._seed
        self.show_labels()

        def fail(error: Exception) -> None:
            self._looking = False
            self.show_labels()
            session.say(Level.WARNING, sentence_of(error))

        def show(found: Sequence[int]) -> None:
            self._looking = False
            self._show(place, [int(index) for index in found])

        send_for(self, lambda: suggested_tiles(session, count=SHOWN, seed=seed), on_done=show, on_error=fail)

    def show_marked(self) -> None:
        """Show the tiles of the open slide that were labelled one by one."""
        labels = self._session.labels
        place = labels.place
        if place is None:
            return
        known = labels.labels_at(place).tiles
        own = [index for index, label in known.items() if label.origin is not Origin.REGION]
        self._show(place, (own or list(known))[-SHOWN:])

    def answer(self, value: float | None) -> None:
        """Answer for the tile that is asked about, and go on to the next; None takes its label back."""
        index, place = self.asked, self._place
        if index is None or place is None:
            return
        try:
            self._session.labels.label_tiles([index], value, origin=Origin.GALLERY, place=place)
        except ValueError as error:
            self._session.say(Level.WARNING, str(error))
            return
        if value is not None:
            self.skip()

    def skip(self) -> None:
        """Go on to the next tile without an answer."""
        self._asked = min(self._asked + 1, len(self._indices))
        self.show_labels()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Take an answer: one key for each."""
        draft, key = self._session.labels.task, event.key()
        number = int(key) - int(Qt.Key.Key_1)
        if draft is not None and 0 <= number < len(draft.classes):
            self.answer(float(number))
        elif key == SKIP_KEY:
            self.skip()
        elif key in BACK_KEYS:
            self.answer(None)
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take the keys."""
        self.setFocus()

    def show_labels(self, _: object = None) -> None:
        """Show the answers as they are now."""
        labels = self._session.labels
        draft, place = labels.task, labels.place
        self.setVisible(draft is not None and place is not None)
        if self._place is not None and (place is None or place is not self._place):
            self._show(None, [])
            return
        self._suggest.setText("Looking…" if self._looking else "Suggest tiles")
        self._suggest.setEnabled(not self._looking)
        known = labels.labels_at(self._place).tiles if self._place is not None else {}
        self._marked.setEnabled(bool(labels.labels.tiles))
        for number, thumbnail in enumerate(self._thumbnails):
            thumbnail.setVisible(number < len(self._indices))
            label = known.get(thumbnail.index)
            colour = draft.colour(label.value) if draft is not None and label is not None else ""
            words = draft.words(label.value) if draft is not None and label is not None else ""
            thumbnail.describe_tile(words or "Not labelled", marked=number == self._asked, colour=colour)
        done = bool(self._indices) and self._asked >= len(self._indices)
        again = "All answered: press 'Suggest tiles' for more."
        self._help.say((again if done else SUGGESTED_HELP) if self._indices else "")

    def _build(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self._suggest)
        buttons.addWidget(self._marked)
        grid = QGridLayout()
        grid.setSpacing(4)
        for number, thumbnail in enumerate(self._thumbnails):
            grid.addWidget(thumbnail, number // PER_ROW, number % PER_ROW)
            thumbnail.pressed.connect(self._look_at)
        grid.setColumnStretch(PER_ROW, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(buttons)
        layout.addWidget(self._help)
        layout.addLayout(grid)

    def _button(self, text: str, name: str, tooltip: str) -> QPushButton:
        button = QPushButton(text)
        describe(button, name, tooltip)
        return button

    def _show(self, place: LabelPlace | None, indices: Sequence[int]) -> None:
        self._place, self._indices, self._asked = place, tuple(indices), 0
        for thumbnail, index in zip(self._thumbnails, indices, strict=False):
            thumbnail.show_tile(index)
        if place is not None and indices:
            self._read(place, self._indices)
            self.setFocus()
        self.show_labels()

    def _read(self, place: LabelPlace, indices: tuple[int, ...]) -> None:
        """Read the tiles one by one in a thread, and show each as it comes."""
        from napari_mtlpath.inference.tile_reader import read_tile  # imports torch, which is there with a model

        def read() -> "dict[int, NDArray[np.uint8]]":
            tiles = {index: read_tile(place.slide, place.grid, index) for index in indices}
            return {index: pixels for index, pixels in tiles.items() if pixels is not None}

        def show(pictures: dict[int, QImage]) -> None:
            if self._place is place:
                show_pictures(self._thumbnails, pictures)

        def fail(error: Exception) -> None:
            if self._place is place:
                self._session.say(Level.WARNING, sentence_of(error))

        send_for_pictures(self, read, on_done=show, on_error=fail)

    def _look_at(self, index: int) -> None:
        place = self._place
        if place is None or index not in self._indices:
            return
        self._asked = self._indices.index(index)
        y, x = place.grid.corner(index)
        half = place.grid.side / 2
        self._view.centre_on(y + half, x + half)
        self.show_labels()
