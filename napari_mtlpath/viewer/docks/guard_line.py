"""The forgetting guard's verdict: a green line with the hash, or a red one, and how far each old task moved."""

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QGridLayout, QSizePolicy, QVBoxLayout, QWidget

from napari_mtlpath.session.teaching_view import TeachingView
from napari_mtlpath.session.teaching_words import delta_rows, guard_words
from napari_mtlpath.viewer.docks.labels import PlainLabel, plain_tooltip
from napari_mtlpath.viewer.docks.theme import verdict_colour

HEADINGS = ("Old task", "Moved (95 % interval)", "Largest")


class GuardLine(QWidget):
    """Shows nothing before the guard has looked."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("teach-guard")
        self._good = True
        self._verdict = PlainLabel("teach-guard-verdict", strong=True)
        self._table = QWidget()
        self._table.setObjectName("teach-guard-table")
        self._grid = QGridLayout(self._table)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(1)
        self._shown: tuple[object, ...] = ()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._verdict)
        layout.addWidget(self._table)
        self.hide()

    def show_view(self, view: TeachingView) -> None:
        """Show what the guard of a view found."""
        words, rows = guard_words(view), delta_rows(view)
        self.setVisible(words is not None)
        if words is None:
            return
        self._good = words.good
        self._verdict.say(f"{'✔' if words.good else '⚠' if view.shared else '✖'} {words.text}")
        self._verdict.setToolTip(plain_tooltip(words.details))
        self._paint()
        self._table.setVisible(bool(rows))
        cells = tuple((row.task, row.mean, row.largest) for row in rows)
        if cells != self._shown:
            self._shown = cells
            self._fill((HEADINGS, *cells) if cells else ())

    def changeEvent(self, event: QEvent) -> None:
        """Take the colours of another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._paint()

    def _paint(self) -> None:
        style = f"color: {verdict_colour(self, self._good)};"
        if style != self._verdict.styleSheet():
            self._verdict.setStyleSheet(style)

    def _fill(self, rows: tuple[tuple[str, ...], ...]) -> None:
        while (item := self._grid.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        for number, row in enumerate(rows):
            for column, text in enumerate(row):
                cell = PlainLabel(f"teach-delta-{number}-{column}", text, tooltip=_TIPS[column], strong=number == 0)
                if column > 0:  # numbers stay whole, in a line of their own below the title
                    cell.setWordWrap(False)
                    cell.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Preferred)
                    cell.setAlignment(Qt.AlignmentFlag.AlignRight)
                    self._grid.addWidget(cell, 2 * number + 1, column - 1)
                else:
                    self._grid.addWidget(cell, 2 * number, 0, 1, 2)
        self._grid.setColumnStretch(0, 1)


_TIPS = (
    "A task that the model had before.",
    "How far its answer moved on average over the slides that the model has seen, and where that mean lies with 95 % "
    "certainty (bootstrap over slides; one slide says nothing of others).",
    "How far its answer moved on the slide where it moved most.",
)
