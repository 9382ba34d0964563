"""Tiles of a slide as small pictures: framed, captioned, read by a worker."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QRect, Qt, Signal
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap
from qtpy.QtWidgets import QWidget

from napari_mtlpath.viewer.docks.errand import send_for
from napari_mtlpath.viewer.docks.labels import describe, plain_tooltip
from napari_mtlpath.viewer.docks.pictures import picture_of
from napari_mtlpath.viewer.docks.theme import text_colour

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PER_ROW = 4
SIDE = 64
"""Screen pixels of a thumbnail: four fit beside each other in the narrowest panel."""

FRAME = 4
CAPTION = 14
"""Screen pixels below a picture for what it is called."""

SMALL = 10
"""Pixels of a caption's letters."""


class Thumbnail(QWidget):
    """One tile as a picture, framed in a colour; a dashed frame marks the one that keys act on.

    Parameters
    ----------
    name
        Object name.
    captioned
        Whether there is room for a caption below the picture.
    """

    pressed = Signal(int)
    """The tile's index: the user wants to see where it lies."""

    def __init__(self, name: str, *, captioned: bool = False) -> None:
        super().__init__()
        describe(self, name, "Click to see this tile on the slide.")
        self.setFixedSize(SIDE, SIDE + (CAPTION if captioned else 0))
        self.index = -1
        self._picture: QPixmap | None = None
        self._colour = ""
        self._caption = ""
        self._marked = False

    @property
    def picture(self) -> QPixmap | None:
        """The tile's picture, once it has come."""
        return self._picture

    def show_tile(self, index: int, picture: QPixmap | None = None) -> None:
        """Stand for a tile, whose picture comes later if it is not given."""
        self.index, self._picture = index, picture
        self.update()

    def show_picture(self, picture: QImage) -> None:
        """Show the tile's picture."""
        inner = SIDE - 2 * FRAME
        whole = Qt.AspectRatioMode.IgnoreAspectRatio
        smooth = Qt.TransformationMode.SmoothTransformation
        self._picture = QPixmap.fromImage(picture.scaled(inner, inner, whole, smooth))
        self.update()

    def describe_tile(self, words: str, *, marked: bool, colour: str = "", caption: str = "") -> None:
        """Show what is known of the tile, and whether it is the one that keys act on."""
        self._colour, self._caption, self._marked = colour, caption, marked
        self.setToolTip(plain_tooltip(f"{words}. Click to see this tile on the slide."))
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Mark this tile, and show where it lies."""
        self.pressed.emit(self.index)
        event.ignore()  # the gallery takes the keys

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw picture, frame and caption."""
        painter = QPainter(self)
        if self._picture is not None:
            painter.drawPixmap(FRAME, FRAME, self._picture)
        half = FRAME // 2
        if self._colour:
            painter.setPen(QPen(QColor(self._colour), FRAME))
            painter.drawRect(half, half, SIDE - FRAME, SIDE - FRAME)
        if self._marked:
            painter.setPen(QPen(text_colour(self), 2, Qt.PenStyle.DashLine))
            painter.drawRect(1, 1, SIDE - 3, SIDE - 3)
        if self._caption:
            font = self.font()
            font.setPixelSize(SMALL)
            painter.setFont(font)
            painter.setPen(text_colour(self))
            painter.drawText(QRect(0, SIDE, SIDE, CAPTION), Qt.AlignmentFlag.AlignCenter, self._caption)
        painter.end()


def send_for_pictures(
    owner: QObject,
    read: "Callable[[], Mapping[int, NDArray[np.uint8]]]",
    *,
    on_done: Callable[[dict[int, QImage]], None],
    on_error: Callable[[Exception], None],
) -> None:
    """Read tiles in a thread and make pictures of them there.

    Parameters
    ----------
    owner
        The dock, or a part of it.
    read
        Returns RGB arrays [y, x, 3] by tile; runs in the thread.
    on_done
        Takes the pictures by tile.
    on_error
        Called with what went wrong.
    """
    send_for(
        owner,
        lambda: {index: picture_of(pixels) for index, pixels in read().items()},
        on_done=on_done,
        on_error=on_error,
    )


def show_pictures(thumbnails: Sequence[Thumbnail], pictures: Mapping[int, QImage]) -> None:
    """Show each picture in the thumbnail that stands for its tile by now, if there is one."""
    for thumbnail in thumbnails:
        if thumbnail.index in pictures:
            thumbnail.show_picture(pictures[thumbnail.index])
