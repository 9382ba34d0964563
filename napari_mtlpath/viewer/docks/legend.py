"""The colours of a heatmap with the numbers that they stand for."""

from collections.abc import Sequence

from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QLinearGradient, QPainter, QPaintEvent, QPalette, QPixmap
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_mtlpath.viewer.docks.labels import describe

STOPS = 17
BAR_HEIGHT = 14
MARGIN = 6


class Legend(QWidget):
    """A bar in the heatmap's colours; below it the values of its ends and of marks between."""

    def __init__(self) -> None:
        super().__init__()
        describe(self, "overlay-legend", "What the heatmap's colours stand for.")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._colours: list[QColor] = []
        self._low, self._high = 0.0, 1.0
        self._marks: tuple[float, ...] = ()

    @property
    def ends(self) -> tuple[float, float]:
        """The values of the first and the last colour."""
        return self._low, self._high

    def show_scale(self, colormap: str, low: float, high: float, marks: Sequence[float] = ()) -> None:
        """Show the colours from `low` to `high`, with further marks where they lie between the two."""
        self._colours = colours_of(colormap)
        self._low, self._high = low, high
        self._marks = (low, *(mark for mark in marks if low < mark < high), high)
        self.setAccessibleName(f"Colours from {low:.3g} to {high:.3g}")
        self.update()

    def sizeHint(self) -> QSize:
        """Ask for a bar and a line of numbers."""
        return QSize(200, BAR_HEIGHT + self.fontMetrics().height() + 8)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw bar, ticks and numbers."""
        if not self._colours:
            return
        painter = QPainter(self)
        bar = QRectF(MARGIN, 1, max(self.width() - 2 * MARGIN, 1), BAR_HEIGHT)
        gradient = QLinearGradient(bar.left(), 0, bar.right(), 0)
        for index, colour in enumerate(self._colours):
            gradient.setColorAt(index / (len(self._colours) - 1), colour)
        painter.fillRect(bar, gradient)
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawRect(bar)
        metrics, top = self.fontMetrics(), bar.bottom() + 3
        free_from = 0.0
        for mark in sorted(self._marks):
            x = bar.left() + bar.width() * (mark - self._low) / max(self._high - self._low, 1e-12)
            painter.drawLine(round(x), round(bar.bottom()), round(x), round(bar.bottom() + 3))
            text = f"{mark:.3g}"
            width = metrics.horizontalAdvance(text)
            left = min(max(x - width / 2, 0.0), self.width() - width)
            if left >= free_from:
                painter.drawText(QRectF(left, top, width + 2, metrics.height()), Qt.AlignmentFlag.AlignLeft, text)
                free_from = left + width + 6


def colours_of(colormap: str) -> list[QColor]:
    """Return a colour map as some colours from its first to its last."""
    table = ensure_colormap(colormap).map([index / (STOPS - 1) for index in range(STOPS)])
    return [QColor.fromRgbF(*(float(part) for part in colour[:3])) for colour in table]


def colormap_icon(colormap: str, width: int = 48, height: int = 12) -> QIcon:
    """Return a small picture of a colour map."""
    colours = colours_of(colormap)
    pixmap = QPixmap(width, height)
    painter = QPainter(pixmap)
    gradient = QLinearGradient(0, 0, width, 0)
    for index, colour in enumerate(colours):
        gradient.setColorAt(index / (len(colours) - 1), colour)
    painter.fillRect(pixmap.rect(), gradient)
    painter.end()
    return QIcon(pixmap)
