"""A bar that is filled as far as a value goes, in the theme's own two tones."""

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QPainter, QPaintEvent, QPalette
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_mtlpath.viewer.docks.labels import describe

HEIGHT = 8
ROUND = 2.0
EMPTY, FULL = 45, 190
"""How opaque, of 255, the text colour is drawn: the bar must show in dark and light themes alike."""


class ValueBar(QWidget):
    """A thin bar, filled from the left.

    Parameters
    ----------
    name, tooltip
        Object name, and what the bar means.
    """

    def __init__(self, name: str, tooltip: str) -> None:
        super().__init__()
        describe(self, name, tooltip)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._fraction = 0.0

    @property
    def fraction(self) -> float:
        """How far the bar is filled, 0 to 1."""
        return self._fraction

    def fill(self, fraction: float) -> None:
        """Fill the bar up to a fraction, 0 to 1."""
        if fraction != self._fraction:
            self._fraction = fraction
            self.setAccessibleName(f"{fraction:.0%}")
            self.update()

    def sizeHint(self) -> QSize:
        """Ask for a thin line."""
        return QSize(100, HEIGHT)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the empty bar, then the filled part."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        colour = self.palette().color(QPalette.ColorRole.WindowText)
        area = QRectF(0, 0, self.width(), self.height())
        for opacity, width in ((EMPTY, area.width()), (FULL, area.width() * self._fraction)):
            colour.setAlpha(opacity)
            painter.setBrush(colour)
            painter.drawRoundedRect(QRectF(0, 0, width, area.height()), ROUND, ROUND)
