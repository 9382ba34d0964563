"""The colours of a segmentation's classes with their names."""

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from napari_mtlpath.viewer.class_colours import class_colour
from napari_mtlpath.viewer.docks.labels import ElidedLabel, describe
from napari_mtlpath.viewer.docks.theme import is_dark

SWATCH_PX = 14
COLUMNS = 2


class ClassLegend(QWidget):
    """A swatch and a name for each class that is painted; the colours follow the theme, as those on the slide do."""

    def __init__(self) -> None:
        super().__init__()
        describe(self, "overlay-classes", "Which colour stands for which class; the background is not painted.")
        self._layout = QGridLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setVerticalSpacing(2)
        self._classes: tuple[str, ...] = ()
        self._swatches: list[QLabel] = []

    @property
    def colours(self) -> list[str]:
        """The colours shown, as ``#rrggbb``."""
        return [class_colour(number, dark=is_dark(self)) for number in range(1, len(self._classes) + 1)]

    def show_classes(self, classes: tuple[str, ...]) -> None:
        """Show these classes, or nothing where there are none."""
        if classes != self._classes:
            self._classes = classes
            while (item := self._layout.takeAt(0)) is not None:
                if (widget := item.widget()) is not None:
                    widget.deleteLater()
            self._swatches = [QLabel() for _ in classes]
            for place, (swatch, name) in enumerate(zip(self._swatches, classes, strict=True)):
                describe(swatch, f"overlay-class-{place}", f"The colour of {name}.")
                swatch.setFixedSize(SWATCH_PX, SWATCH_PX)
                label = ElidedLabel(f"overlay-class-name-{place}")
                label.say(name)
                row, column = divmod(place, COLUMNS)
                self._layout.addWidget(swatch, row, 2 * column)
                self._layout.addWidget(label, row, 2 * column + 1)
                self._layout.setColumnStretch(2 * column + 1, 1)
        self._paint()
        self.setVisible(bool(classes))

    def changeEvent(self, event: QEvent) -> None:
        """Take the colours of another theme."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._paint()

    def _paint(self) -> None:
        for swatch, colour in zip(self._swatches, self.colours, strict=True):
            wanted = f"background-color: {colour}; border: 1px solid gray;"
            if swatch.styleSheet() != wanted:
                swatch.setStyleSheet(wanted)
