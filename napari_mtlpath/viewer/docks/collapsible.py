"""A section of the panel that opens and closes on a click or a key."""

from qtpy.QtCore import QRect, Qt, Signal
from qtpy.QtGui import QPainter, QPaintEvent
from qtpy.QtWidgets import QPushButton, QStyle, QStyleOption, QVBoxLayout, QWidget

from napari_mtlpath.viewer.docks.labels import describe

ARROW_SIDE = 10
ARROW_MARGIN = 6
ARROW_ROOM = ARROW_SIDE + 2 * ARROW_MARGIN


class Collapsible(QWidget):
    """A heading with an arrow, and below it what it opens.

    Parameters
    ----------
    name
        Stable name, part of the object names.
    title
        The heading.
    content
        What is shown while the section is open.
    """

    toggled = Signal(str, bool)
    """Name of the section and whether it is open now."""

    def __init__(self, name: str, title: str, content: QWidget) -> None:
        super().__init__()
        self.setObjectName(f"section-{name}")
        self._name = name
        self._content = content
        self._heading = _Heading(title)
        describe(self._heading, f"section-{name}-heading", f"Open or close the section '{title}'.")
        self._heading.clicked.connect(lambda: self.set_open(not self.is_open))
        self._open = True
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._heading)
        layout.addWidget(content)

    @property
    def name(self) -> str:
        """The section's stable name."""
        return self._name

    @property
    def is_open(self) -> bool:
        """Whether the content is shown."""
        return self._open

    def set_open(self, is_open: bool) -> None:
        """Open or close the section."""
        if is_open == self._open:
            return
        self._open = is_open
        self._content.setVisible(is_open)
        self._heading.show_arrow(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)
        self.toggled.emit(self._name, is_open)


class _Heading(QPushButton):
    """A button as wide as the panel, with an arrow drawn by the theme's own style."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self._arrow = Qt.ArrowType.DownArrow
        self.setStyleSheet(f"text-align: left; padding-left: {ARROW_ROOM}px; font-weight: bold;")

    def show_arrow(self, arrow: Qt.ArrowType) -> None:
        """Draw another arrow."""
        self._arrow = arrow
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the button, then the arrow on its left."""
        super().paintEvent(event)
        option = QStyleOption()
        option.initFrom(self)
        option.rect = QRect(ARROW_MARGIN, (self.height() - ARROW_SIDE) // 2, ARROW_SIDE, ARROW_SIDE)
        down = self._arrow == Qt.ArrowType.DownArrow
        element = QStyle.PrimitiveElement
        painter = QPainter(self)
        self.style().drawPrimitive(
            element.PE_IndicatorArrowDown if down else element.PE_IndicatorArrowRight, option, painter, self
        )
