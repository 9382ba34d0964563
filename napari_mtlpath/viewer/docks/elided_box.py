"""A box to choose from whose text ends in dots where it does not fit, and whose tooltip then says the whole of it."""

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QHelpEvent, QPaintEvent, QPalette
from qtpy.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter, QToolTip

from napari_mtlpath.viewer.docks.labels import plain_tooltip


class ElidedBox(QComboBox):
    """Shows that a text goes on; Qt cuts it in the middle of a letter, as if it ended there."""

    @property
    def shown_text(self) -> str:
        """The text as it is painted, shortened at its end where it does not fit."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        field = self.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, self
        )
        room = max(field.width() - _PADDING, 0)
        return self.fontMetrics().elidedText(self._whole, Qt.TextElideMode.ElideRight, room)

    @property
    def _whole(self) -> str:
        return self.currentText() if self.currentIndex() >= 0 else self.placeholderText()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint as every such box is painted, but with the shortened text."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        if self.currentIndex() < 0:
            faint = option.palette.brush(QPalette.ColorRole.PlaceholderText)
            option.palette.setBrush(QPalette.ColorRole.ButtonText, faint)
        option.currentText = self.shown_text
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()

    def event(self, event: QEvent) -> bool:
        """Say the whole text above the tooltip where it is shortened."""
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip and self.shown_text != self._whole:
            QToolTip.showText(event.globalPos(), f"{plain_tooltip(self._whole)}<br>{self.toolTip()}", self)
            return True
        return super().event(event)


_PADDING = 6
"""Screen pixels that styles leave beside the text."""
