"""The whole slide in small, with a box for what is visible that can be dragged."""

from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_mtlpath.viewer.docks.labels import describe

LARGEST_HEIGHT = 130
NARROWEST = 40
WIDGET_MAX = 16777215
"""Qt's own largest size: no limit."""

SMALLEST_BOX = 7.0
"""Side in screen pixels below which the box of the visible part is drawn as a point of this size."""

STEP = 0.25
"""An arrow key moves by this share of the visible part."""


class Minimap(QWidget):
    """Shows a picture of the slide and the visible part; click, drag or arrow keys move the view."""

    moved = Signal(float, float)
    """The user wants this level-0 pixel (y, x) in the middle of the view."""

    def __init__(self) -> None:
        super().__init__()
        describe(
            self,
            "slide-minimap",
            "The whole slide. The box is what you see: drag it, click, or use the arrow keys to go elsewhere.",
        )
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self._picture = QImage()
        self._size = (1, 1)
        self._rect: Sequence[float] | None = None

    def show_slide(self, height: int, width: int, *, as_wide_as_needed: bool = False) -> None:
        """Make room for a slide of this size in level-0 pixels; its picture may come later.

        Parameters
        ----------
        height, width
            Size of the slide.
        as_wide_as_needed
            Take the width that the largest height needs, instead of all the width there is.
        """
        self._size = (max(height, 1), max(width, 1))
        self._picture = QImage()
        needed = max(NARROWEST, round(LARGEST_HEIGHT * width / max(height, 1)))
        self.setMinimumWidth(needed if as_wide_as_needed else 0)
        self.setMaximumWidth(needed if as_wide_as_needed else WIDGET_MAX)
        self.updateGeometry()
        self.setFixedHeight(self.heightForWidth(max(self.width(), 1)))
        self.update()

    def show_picture(self, picture: QImage) -> None:
        """Show the slide's picture."""
        self._picture = picture
        self.update()

    def show_rect(self, rect: Sequence[float] | None) -> None:
        """Draw the box of the visible part, (y0, x0, y1, x1) in level-0 pixels; None draws none."""
        if rect != self._rect:
            self._rect = rect
            self.update()

    @property
    def rect_shown(self) -> Sequence[float] | None:
        """The visible part as it is drawn."""
        return self._rect

    def sizeHint(self) -> QSize:
        """Ask for the panel's width."""
        return QSize(300, self.heightForWidth(300))

    def heightForWidth(self, width: int) -> int:
        """Return the height that the slide's shape needs at this width, up to a limit."""
        return max(24, min(LARGEST_HEIGHT, round(width * self._size[0] / self._size[1])))

    def resizeEvent(self, event: object) -> None:
        """Keep the slide's shape."""
        self.setFixedHeight(self.heightForWidth(self.width()))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw picture and box."""
        painter = QPainter(self)
        area = self._area()
        if self._picture.isNull():
            painter.fillRect(area, self.palette().color(QPalette.ColorRole.Highlight))
            painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, "Reading the overview …")
        else:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawImage(area, self._picture)
        if self._rect is not None:
            self._draw_box(painter, self._rect)
        if self.hasFocus():
            painter.setPen(QPen(self.palette().color(QPalette.ColorRole.WindowText), 1, Qt.PenStyle.DotLine))
            painter.drawRect(area.adjusted(0, 0, -1, -1))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Go where the user clicked."""
        self._go(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Follow a drag."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._go(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move by a part of what is visible with the arrow keys."""
        step = _STEPS.get(event.key())
        if step is None or self._rect is None:
            super().keyPressEvent(event)
            return
        y0, x0, y1, x1 = self._rect
        self._ask(y0 + (y1 - y0) * (0.5 + STEP * step[0]), x0 + (x1 - x0) * (0.5 + STEP * step[1]))

    def _go(self, event: QMouseEvent) -> None:
        area, place = self._area(), event.position()
        height, width = self._size
        self._ask((place.y() - area.top()) / area.height() * height, (place.x() - area.left()) / area.width() * width)

    def _ask(self, y: float, x: float) -> None:
        height, width = self._size
        self.moved.emit(min(max(y, 0.0), height), min(max(x, 0.0), width))

    def _area(self) -> QRectF:
        """Return where the slide is drawn: as large as fits, in the middle."""
        height, width = self._size
        scale = min(self.width() / width, self.height() / height)
        size = (max(width * scale, 1.0), max(height * scale, 1.0))
        return QRectF((self.width() - size[0]) / 2, (self.height() - size[1]) / 2, *size)

    def _draw_box(self, painter: QPainter, rect: Sequence[float]) -> None:
        area, width = self._area(), self._size[1]
        y0, x0, y1, x1 = rect
        scale = area.width() / width
        box = QRectF(area.left() + x0 * scale, area.top() + y0 * scale, (x1 - x0) * scale, (y1 - y0) * scale)
        if min(box.width(), box.height()) < SMALLEST_BOX:
            middle = box.center()
            grown = (max(box.width(), SMALLEST_BOX), max(box.height(), SMALLEST_BOX))
            box = QRectF(middle - QPointF(grown[0] / 2, grown[1] / 2), middle + QPointF(grown[0] / 2, grown[1] / 2))
        box = box.intersected(area).adjusted(1, 1, -1, -1)
        # Two tones of the theme, one inside the other: one of them stands out on any tissue.
        for colour, pen_width in ((QPalette.ColorRole.Window, 3.5), (QPalette.ColorRole.WindowText, 1.5)):
            painter.setPen(QPen(self.palette().color(colour), pen_width))
            painter.drawRect(box)


_STEPS = {
    Qt.Key.Key_Up: (-1, 0),
    Qt.Key.Key_Down: (1, 0),
    Qt.Key.Key_Left: (0, -1),
    Qt.Key.Key_Right: (0, 1),
}
