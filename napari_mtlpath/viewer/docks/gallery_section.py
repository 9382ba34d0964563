"""The tiles of highest or lowest value, side by side, to look through with the keys."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import napari
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QKeyEvent, QMouseEvent
from qtpy.QtWidgets import QFileDialog, QGridLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_mtlpath.session.gallery import Ranking, export_gallery, rank, tile_pictures
from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.session import Session
from napari_mtlpath.viewer.binding import session_of
from napari_mtlpath.viewer.bridge import Bridge
from napari_mtlpath.viewer.docks.errand import send_for
from napari_mtlpath.viewer.docks.gallery_order import GalleryOrderForm
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe
from napari_mtlpath.viewer.docks.section import SectionDock
from napari_mtlpath.viewer.docks.slide_view import SlideView
from napari_mtlpath.viewer.docks.thumbnails import PER_ROW, Thumbnail, send_for_pictures, show_pictures
from napari_mtlpath.viewer.worker import sentence_of

if TYPE_CHECKING:
    from napari_mtlpath.slides.slide import Slide

PAGE = 16
"""Thumbnails that are shown, and so read, at a time."""

STEPS = {
    Qt.Key.Key_Left: -1,
    Qt.Key.Key_Right: 1,
    Qt.Key.Key_Up: -PER_ROW,
    Qt.Key.Key_Down: PER_ROW,
    Qt.Key.Key_PageUp: -PAGE,
    Qt.Key.Key_PageDown: PAGE,
}
"""How far the keys walk."""

HELP = "Click a tile to see it on the slide; then the arrow keys walk through, Page Up and Page Down turn the page."
HELD = "The order stands still while a tile is framed; Esc lets it follow the analysis again."
NOTHING_YET = "Tiles appear here once a model has looked at a slide, in the order of its heatmaps."
NO_TILES = "This model orders no tiles of the slide for this task."
TABLES = "Tables (*.csv)"


class GalleryForm(QWidget):
    """The first K tiles of a task in the order of one of its heatmaps; tiles are read by a worker.

    Parameters
    ----------
    session
        The session.
    viewer
        Whose camera goes to a tile; None without one.
    """

    def __init__(self, session: Session, viewer: "napari.Viewer | None" = None) -> None:
        super().__init__()
        self.setObjectName("gallery-form")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._session = session
        self._view = SlideView(viewer)
        self._ranking: Ranking | None = None
        self._marked: int | None = None
        self._page = 0
        self._about: object = None  # slide, scale, model and tasks that the order is of
        self._source: object = None  # the slide and the grid that the pictures are of
        self._awaited: set[int] = set()  # tiles that are being read
        self._hint = PlainLabel("gallery-hint", NOTHING_YET, tooltip="What has to happen before there are tiles.")
        self._order = GalleryOrderForm(session)
        self._order.changed.connect(self._start_over)
        self._words = PlainLabel("gallery-words", tooltip="What these tiles are, and of how many.")
        self._keys = PlainLabel("gallery-keys", tooltip="Keys work while the gallery has the focus: click into it.")
        self._thumbnails = [Thumbnail(f"ranked-tile-{number}", captioned=True) for number in range(PAGE)]
        self._back = self._button("<", "gallery-back", "The page before (Page Up).", lambda: self._turn(-1))
        self._on = self._button(">", "gallery-on", "The next page (Page Down).", lambda: self._turn(1))
        self._place = PlainLabel("gallery-place", tooltip="Which of the tiles are shown, or which one is framed.")
        self._export = self._button(
            "Export…", "gallery-export", "All these tiles as a table (CSV) and a sheet of pictures (PNG).", self._ask
        )
        self._controls = QWidget()
        self._controls.setObjectName("gallery-controls")
        self._build()
        self._bridge = bridge = Bridge(session, self)
        for news in (bridge.slide_changed, bridge.model_changed, bridge.tasks_changed, bridge.resolution_changed):
            news.connect(self._hear)
        bridge.report_changed.connect(self._follow)
        self._hear()

    @property
    def ranking(self) -> Ranking | None:
        """What is shown."""
        return self._ranking

    @property
    def marked(self) -> int | None:
        """Place in the order, from 0, of the tile that is framed; None without one."""
        return self._marked

    def mark(self, place: int | None) -> None:
        """Frame the tile at a place of the order and show where it lies on the slide; None frames none."""
        ranking = self._ranking
        if ranking is None or place is None:
            self._marked = None
            self._follow()
            return
        place = min(max(place, 0), len(ranking.indices) - 1)
        self._marked, page = place, place // PAGE
        if page != self._page:
            self._page = page
            self._read()
        self._view.centre_on(*ranking.centre(int(ranking.indices[place])))
        self._show()

    def export_to(self, path: Path) -> None:
        """Write the tiles as a table, and beside it a sheet of pictures, in the background."""
        session, ranking = self._session, self._ranking
        if ranking is None:
            return

        def work() -> str:
            with session.working(f"Writing {path.name}"):
                return export_gallery(session, ranking, path)

        send_for(
            self,
            work,
            on_done=lambda said: session.say(Level.INFO, said),
            on_error=lambda error: session.say(Level.ERROR, sentence_of(error)),
        )

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Walk through the tiles."""
        key = Qt.Key(event.key())
        if key in STEPS and self._ranking is not None:
            self.mark(0 if self._marked is None else self._marked + STEPS[key])
        elif key == Qt.Key.Key_Home:
            self.mark(0)
        elif key == Qt.Key.Key_End and self._ranking is not None:
            self.mark(len(self._ranking.indices) - 1)
        elif key == Qt.Key.Key_Escape and self._marked is not None:
            self.mark(None)
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take the keys."""
        self.setFocus()

    def _hear(self, _: object = None) -> None:
        """Start over where slide or model is another: news of what is shown already would take a click back."""
        session = self._session
        slide = session.slide
        about = (slide, slide.resolution if slide is not None else None, session.model, session.tasks)
        if about != self._about:
            self._about = about
            self._start_over()

    def _start_over(self) -> None:
        """Show another order, slide or model from its first tile on."""
        self._marked, self._page, self._ranking = None, 0, None
        self._follow()

    def _follow(self, _: object = None) -> None:
        """Order anew by what is known now, unless the user is looking through the tiles."""
        self._order.show_choices()
        if self._marked is None or self._ranking is None:
            order = self._order.order
            self._ranking = rank(self._session.result, order, self._session.tasks) if order is not None else None
            count = len(self._ranking.indices) if self._ranking is not None else 0
            self._page = min(self._page, max(0, count - 1) // PAGE)
            self._read()
        self._show()

    def _turn(self, pages: int) -> None:
        ranking = self._ranking
        last = (len(ranking.indices) - 1) // PAGE if ranking is not None else 0
        page = min(max(self._page + pages, 0), last)
        if page != self._page:
            self._page = page
            self._read()
        self._show()
        self.setFocus()

    def _shown(self) -> list[int]:
        """Return the tiles of the page."""
        ranking = self._ranking
        first = self._page * PAGE
        return [int(index) for index in ranking.indices[first : first + PAGE]] if ranking is not None else []

    def _read(self) -> None:
        """Let the thumbnails stand for the tiles of the page, and read the pictures that are not there yet."""
        ranking, slide, shown = self._ranking, self._session.slide, self._shown()
        source = (slide, ranking.heatmap.grid) if ranking is not None else None
        known = {each.index: each.picture for each in self._thumbnails if each.picture is not None}
        if source != self._source:
            self._source, self._awaited, known = source, set(), {}
        for number, thumbnail in enumerate(self._thumbnails):
            index = shown[number] if number < len(shown) else -1
            thumbnail.show_tile(index, known.get(index))
        lacking = (each.index for each in self._thumbnails if each.index >= 0 and each.picture is None)
        wanted = [index for index in lacking if index not in self._awaited]
        if ranking is not None and slide is not None and wanted:
            self._send_for(slide, ranking, wanted)

    def _send_for(self, slide: "Slide", ranking: Ranking, wanted: list[int]) -> None:
        source, awaited = self._source, self._awaited
        awaited.update(wanted)

        def show(pictures: dict[int, QImage]) -> None:
            awaited.difference_update(wanted)
            if self._source == source:
                show_pictures(self._thumbnails, pictures)

        def fail(error: Exception) -> None:
            awaited.difference_update(wanted)
            if self._source == source:
                self._session.say(Level.WARNING, sentence_of(error))

        send_for_pictures(self, lambda: tile_pictures(slide, ranking, wanted), on_done=show, on_error=fail)

    def _show(self) -> None:
        ranking = self._ranking
        offered = self._order.order is not None
        self._hint.say("" if ranking is not None else NO_TILES if offered or self._order.has_tasks else NOTHING_YET)
        self._controls.setVisible(ranking is not None)
        if ranking is None:
            return
        self._words.say(ranking.words)
        self._keys.say(HELP if self._marked is None else HELD)
        first = self._page * PAGE
        for number, thumbnail in enumerate(self._thumbnails):
            place = first + number
            thumbnail.setVisible(place < len(ranking.indices))
            if place < len(ranking.indices):
                words = f"Number {place + 1} of {len(ranking.indices)}: {ranking.value_words(place)}"
                caption = f"{float(ranking.values[place]):.3g}"
                thumbnail.describe_tile(words, marked=place == self._marked, caption=caption)
        last = min(first + PAGE, len(ranking.indices))
        self._place.say(
            f"{first + 1} to {last} of {len(ranking.indices)}"
            if self._marked is None
            else f"Number {self._marked + 1} of {len(ranking.indices)}: {ranking.value_words(self._marked)}"
        )
        self._back.setEnabled(self._page > 0)
        self._on.setEnabled(last < len(ranking.indices))

    def _build(self) -> None:
        grid = QGridLayout()
        grid.setSpacing(4)
        for number, thumbnail in enumerate(self._thumbnails):
            grid.addWidget(thumbnail, number // PER_ROW, number % PER_ROW)
            thumbnail.pressed.connect(self._look_at)
        grid.setColumnStretch(PER_ROW, 1)
        foot = QHBoxLayout()
        foot.addWidget(self._back)
        foot.addWidget(self._on)
        foot.addWidget(self._place, 1)
        foot.addWidget(self._export)
        inner = QVBoxLayout(self._controls)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(4)
        inner.addWidget(self._words)
        inner.addLayout(grid)
        inner.addLayout(foot)
        inner.addWidget(self._keys)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 6)
        layout.addWidget(self._order)
        layout.addWidget(self._hint)
        layout.addWidget(self._controls)

    def _button(self, text: str, name: str, tooltip: str, action: Callable[[], object]) -> QPushButton:
        button = QPushButton(text)
        describe(button, name, tooltip)
        button.clicked.connect(lambda: action())
        return button

    def _look_at(self, index: int) -> None:
        shown = self._shown()
        if index in shown:
            self.setFocus()
            self.mark(self._page * PAGE + shown.index(index))

    def _ask(self) -> None:
        """Let the user choose a file; nothing waits meanwhile."""
        slide, ranking = self._session.slide, self._ranking
        if slide is None or ranking is None:
            return
        order = ranking.order
        proposed = f"{Path(slide.name).stem}-{order.task}-{order.kind.value}.csv"
        dialog = QFileDialog(self, "Export the gallery", str(Path(slide.path).parent), TABLES)
        dialog.setObjectName("gallery-export-dialog")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix("csv")
        dialog.selectFile(proposed)
        dialog.fileSelected.connect(lambda chosen: self.export_to(Path(chosen)))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()


class GallerySection(SectionDock):
    """The Gallery section as a dock of its own."""

    def __init__(self, viewer: napari.Viewer) -> None:
        session = session_of(viewer)
        super().__init__(session, GalleryForm(session, viewer), viewer)
