"""Curves of a training: losses above, scores below with the trivial answer drawn in."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

# Half a second, when the panel is opened: in a thread beside a running event loop its Qt classes crash PySide6.
from pyqtgraph import PlotWidget, mkPen
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_mtlpath.session.teaching_view import CurvePoint, TeachingView
from napari_mtlpath.session.teaching_words import title_of
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe
from napari_mtlpath.viewer.docks.theme import line_colour, text_colour
from napari_mtlpath.viewer.gui_time import gui_span

if TYPE_CHECKING:
    from qtpy.QtGui import QWheelEvent

HEIGHT = 116
AXIS_WIDTH = 34
"""Screen pixels for the numbers of the vertical axis, so that both plots begin at the same place."""

LOWEST = -0.5
"""Where the plot of scores ends: an R2 has no lowest value, and one of -10 would flatten every other line."""

LOSSES_TIP = "Loss by step: training (dashed), held out (solid)."
SCORES_TIP = "Scores on held-out labels; dotted: the trivial answer."

SOLID, DASHED, DOTTED = Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine


class Curves(QWidget):
    """Draws the points of a teaching; the plots are made when there is something to draw.

    Parameters
    ----------
    name
        First part of the object names.
    """

    def __init__(self, name: str = "teach") -> None:
        super().__init__()
        self.setObjectName(f"{name}-curves")
        self._name = name
        self._view = TeachingView()
        self._making = QTimer(self)
        self._making.setSingleShot(True)
        self._making.timeout.connect(self._make)
        self._losses: _Plot | None = None
        self._scores: _Plot | None = None
        self._key = PlainLabel(f"{name}-curves-key", tooltip="What the lines mean.")
        self._tasks = PlainLabel(f"{name}-curves-tasks", tooltip="Which colour belongs to which task.")
        self._tasks.setTextFormat(Qt.TextFormat.RichText)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(1)
        layout.addWidget(self._key)
        layout.addWidget(self._tasks)
        self.hide()

    @property
    def drawn(self) -> int:
        """How many points the longest line has."""
        plots = [plot for plot in (self._losses, self._scores) if plot is not None]
        return max((plot.longest for plot in plots), default=0)

    def prepare(self) -> None:
        """Make the plots soon, each in a turn of its own: both at once would hold the GUI for as long as 60 ms."""
        if self._scores is None and not self._making.isActive():
            self._making.start()

    def show_view(self, view: TeachingView) -> None:
        """Draw the points of a view as soon as there are plots, or hide where there are none."""
        self._view = view
        self.setVisible(bool(view.points))
        if view.phase.busy or view.points:
            self.prepare()
        self._draw()

    def changeEvent(self, event: QEvent) -> None:
        """Draw in the colours of another theme."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.StyleChange, QEvent.Type.PaletteChange):
            self._draw()

    def _make(self) -> None:
        """Make the next plot."""
        with gui_span("make a plot"):
            if self._losses is None:
                self._losses = _Plot(f"{self._name}-losses", "Loss", LOSSES_TIP)
                self.layout().insertWidget(0, self._losses.widget)
                self._making.start()
            else:
                self._scores = _Plot(f"{self._name}-scores", "AUC", SCORES_TIP, lowest=LOWEST)
                self.layout().insertWidget(1, self._scores.widget)
                self._draw()

    def _draw(self) -> None:
        if self._losses is None or self._scores is None or not self._view.points:
            return
        points, view = self._view.points, self._view
        tasks = list(dict.fromkeys(name for point in points for name in (*point.validation_losses, *point.losses)))
        self._losses.begin(self)
        self._scores.begin(self, title=", ".join(sorted(set(view.score_names.values()))) or "AUC")
        for number, task in enumerate(tasks):
            colour = line_colour(self, number)
            self._losses.line(f"{task} training", _series(points, task, "losses"), colour, DASHED)
            self._losses.line(f"{task} validation", _series(points, task, "validation_losses"), colour, SOLID)
            scores = _series(points, task, "scores")
            self._scores.line(f"{task} score", scores, colour, SOLID)
            floor = view.floors.get(task)
            if floor is not None and scores:
                ends = [(scores[0][0], floor), (max(scores[-1][0], scores[0][0] + 1), floor)]
                self._scores.line(f"{task} floor", ends, colour, DOTTED)
        self._losses.end()
        self._scores.end()
        self._key.say("Solid: held-out labels. Dashed: training. Dotted: the trivial answer.")
        self._tasks.setVisible(len(tasks) > 1)
        self._tasks.setText(self._task_words(tasks))

    def _task_words(self, tasks: Sequence[str]) -> str:
        """Return the tasks in the colours of their lines; a name holds no markup, because it is escaped."""
        from html import escape

        return " ".join(
            f'<span style="color:{line_colour(self, number)}">■ {escape(title_of(self._view, task))}</span>'
            for number, task in enumerate(tasks)
        )


def _series(points: Iterable[CurvePoint], task: str, kind: str) -> list[tuple[float, float]]:
    """Return (step, value) of the points that have a finite value of this kind."""
    found = []
    for point in points:
        values: Mapping[str, float] = getattr(point, kind)
        value = values.get(task, math.nan)
        if math.isfinite(value):
            found.append((float(point.step), value))
    return found


class _StillPlot(PlotWidget):
    """Lets the wheel over it scroll the panel."""

    def wheelEvent(self, event: "QWheelEvent") -> None:
        event.ignore()


class _Plot:
    """One small plot without mouse or menu."""

    def __init__(self, name: str, title: str, tooltip: str, *, lowest: float | None = None) -> None:
        self.widget = _StillPlot(background=None, enableMenu=False)
        describe(self.widget, name, tooltip)
        self.widget.setFixedHeight(HEIGHT)
        # Else the view keeps the ground of the theme that it was made in.
        self.widget.setStyleSheet("background: transparent; border: none;")
        self.widget.setMouseEnabled(x=False, y=False)
        if lowest is not None:
            self.widget.setLimits(yMin=lowest)
        self.widget.hideButtons()
        self.widget.getAxis("left").setWidth(AXIS_WIDTH)
        self._title = title
        self._lines: dict[str, Any] = {}
        self._fresh: set[str] = set()
        self._lengths: dict[str, int] = {}

    @property
    def longest(self) -> int:
        """Points of the longest line."""
        return max(self._lengths.values(), default=0)

    def begin(self, owner: QWidget, *, title: str = "") -> None:
        """Start a drawing in the owner's colours."""
        colour = text_colour(owner)
        self._fresh.clear()
        for side in ("left", "bottom"):
            axis = self.widget.getAxis(side)
            axis.setPen(mkPen(colour))
            axis.setTextPen(mkPen(colour))
        self.widget.setTitle(title or self._title, color=colour.name(), size="9pt")

    def line(self, name: str, series: Sequence[tuple[float, float]], colour: str, style: Qt.PenStyle) -> None:
        """Draw a line, or draw it anew; one of a single point is a dot."""
        self._fresh.add(name)
        if name not in self._lines:
            self._lines[name] = self.widget.plot([], [])
        line = self._lines[name]
        line.setPen(mkPen(colour, width=1.5, style=style))
        single = len(series) == 1
        line.setData(
            [step for step, _ in series],
            [value for _, value in series],
            symbol="o" if single else None,
            symbolSize=5,
            symbolBrush=colour,
            symbolPen=None,
        )
        self._lengths[name] = len(series)

    def end(self) -> None:
        """Take away the lines that were not drawn."""
        for name in [name for name in self._lines if name not in self._fresh]:
            self.widget.removeItem(self._lines.pop(name))
            self._lengths.pop(name, None)
