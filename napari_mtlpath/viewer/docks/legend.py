"""The colours of a heatmap with the numbers that they stand for."""

from collections.abc import Sequence

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QLinearGradient, QPainter, QPaintEvent, QPalette, QPixmap
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_mtlpath.viewer.docks.labels import describe
from napari_mtlpath.viewer.heat_colours import TISSUE, USUAL_OPACITY, first_shown, heat_colours, over

STOPS = 33
BAR_HEIGHT = 14
MARGIN = 6


class Legend(QWidget):
    """A bar in the heatmap's colours as they look on stained tissue, over the values that they stand for."""

    def __init__(self) -> None:
        super().__init__()
        describe(self, "overlay-legend", "What the heatmap's colours stand for, as they look on stained tissue.")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._colours: list[QColor] = []
        self._low, self._high = 0.0, 1.0
        self._threshold = 0.0
        self._marks: tuple[float, ...] = ()

    @property
    def ends(self) -> tuple[float, float]:
        """The values of the first and the last colour."""
        return self._low, self._high

    @property
    def hidden_below(self) -> float:
        """The value below which the bar shows bare tissue, as the slide does."""
        return max(self._low, self._threshold)

    def show_scale(
        self,
        colormap: str,
        low: float,
        high: float,
        *,
        threshold: float = 0.0,
        opacity: float = USUAL_OPACITY,
    ) -> None:
        """Show the colours from `low` to `high`, bare below `threshold`."""
        self._low, self._high, self._threshold = low, high, threshold
        self._colours = colours_of(colormap, start=first_shown(self._hidden_share()), opacity=opacity)
        self._marks = (low, threshold, high) if low < threshold < high else (low, high)
        self.setAccessibleName(f"Colours from {self.hidden_below:.3g} to {high:.3g}")
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
        painter.fillRect(bar, _BARE)
        shown = bar.adjusted(bar.width() * self._hidden_share(), 0, 0, 0)
        painter.fillRect(shown, _gradient(self._colours, shown))
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

    def _hidden_share(self) -> float:
        return min(max((self._threshold - self._low) / max(self._high - self._low, 1e-12), 0.0), 1.0)


_BARE = QColor.fromRgbF(*TISSUE)


def _gradient(colours: Sequence[QColor], area: QRectF) -> QLinearGradient:
    gradient = QLinearGradient(area.left(), 0, area.right(), 0)
    for index, colour in enumerate(colours):
        gradient.setColorAt(index / (len(colours) - 1), colour)
    return gradient


def colours_of(colormap: str, *, start: float = 0.0, opacity: float = USUAL_OPACITY) -> list[QColor]:
    """Return what a colour map looks like on stained tissue, as some colours from its first to its last."""
    table = over(heat_colours(colormap, start=start, count=STOPS), TISSUE, opacity=opacity)
    return [QColor.fromRgbF(*(float(part) for part in colour)) for colour in table]


def colormap_icon(colormap: str, width: int = 48, height: int = 12) -> QIcon:
    """Return a small picture of a colour map."""
    pixmap = QPixmap(width, height)
    painter = QPainter(pixmap)
    painter.fillRect(pixmap.rect(), _gradient(colours_of(colormap), QRectF(pixmap.rect())))
    painter.end()
    return QIcon(pixmap)
