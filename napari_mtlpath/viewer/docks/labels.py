"""Labels that show text as it is: never as markup, whatever a file or a card is called."""

import html

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

MARGIN = 14
"""Screen pixels of a label that napari's theme leaves around its text."""

ROUNDING = 4
"""Widths of text are fractions of a pixel, those of widgets are not."""


class PlainLabel(QLabel):
    """Plain text that wraps, can be selected with the mouse, and takes no place while it is empty.

    Parameters
    ----------
    name
        Object name.
    text, tooltip
        What it says, and what that means.
    strong
        Bold, for headings.
    selectable
        Whether the text can be marked and copied.
    """

    def __init__(
        self, name: str, text: str = "", *, tooltip: str = "", strong: bool = False, selectable: bool = True
    ) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setToolTip(plain_tooltip(tooltip))
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        if selectable:
            self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        if strong:
            font = self.font()
            font.setBold(True)
            self.setFont(font)
        self.setText(text)
        if not text:
            self.hide()

    def say(self, text: str) -> None:
        """Show `text`, or nothing at all where it is empty; only once the label is part of a window."""
        if text != self.text():
            self.setText(text)
        self.setVisible(bool(text))


class ElidedLabel(QLabel):
    """One line of plain text, shortened in the middle where it does not fit; the whole is in its tooltip."""

    def __init__(self, name: str, *, strong: bool = False) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._whole = ""
        self._largest: int | None = None
        if strong:
            font = self.font()
            font.setBold(True)
            self.setFont(font)

    @property
    def whole(self) -> str:
        """The text before shortening."""
        return self._whole

    def say(self, text: str) -> None:
        """Show `text`."""
        self._whole = text
        self.setToolTip(plain_tooltip(text))
        self.updateGeometry()
        self._shorten()

    def fit(self, largest: int) -> None:
        """Be as wide as the text needs, up to `largest` screen pixels, instead of as wide as there is room."""
        self._largest = largest
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.updateGeometry()

    def sizeHint(self) -> QSize:
        """Ask for the room of the whole text, up to the limit of :meth:`fit`."""
        needed = self.fontMetrics().horizontalAdvance(self._whole) + MARGIN
        return QSize(needed if self._largest is None else min(needed, self._largest), super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        """Give way to whatever is beside it."""
        return QSize(0, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Shorten to the new width."""
        super().resizeEvent(event)
        self._shorten()

    def _shorten(self) -> None:
        shown = self.fontMetrics().elidedText(
            self._whole, Qt.TextElideMode.ElideMiddle, max(self.width() - MARGIN + ROUNDING, 0)
        )
        if shown != self.text():
            self.setText(shown)


def plain_tooltip(text: str) -> str:
    """Return `text` so that Qt shows it letter by letter: a tooltip that looks like markup is taken for it."""
    return f"<span>{html.escape(text)}</span>" if text else ""


def describe(widget: QWidget, name: str, tooltip: str) -> None:
    """Give a widget its object name, and its tooltip also to screen readers."""
    widget.setObjectName(name)
    widget.setToolTip(plain_tooltip(tooltip))
    widget.setAccessibleDescription(tooltip)
