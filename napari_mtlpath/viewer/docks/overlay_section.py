"""What is painted over the slide: which task, which kind of heatmap, how strongly, from which value on."""

from typing import TYPE_CHECKING

import napari
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QRadioButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_mtlpath.session.overlay import (
    COLORMAPS,
    ColourScale,
    OverlayKind,
    chosen_heatmap,
    classes_shown,
    colour_scale,
    kinds_to_choose,
    unavailable_reason,
)
from napari_mtlpath.session.pointing import words_under
from napari_mtlpath.session.session import Session
from napari_mtlpath.session.wording import KIND_TITLES, task_title, threshold_words
from napari_mtlpath.viewer.binding import session_of
from napari_mtlpath.viewer.bridge import Bridge
from napari_mtlpath.viewer.docks.class_legend import ClassLegend
from napari_mtlpath.viewer.docks.elided_box import ElidedBox
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe, plain_tooltip
from napari_mtlpath.viewer.docks.legend import Legend, colormap_icon
from napari_mtlpath.viewer.docks.section import SectionDock
from napari_mtlpath.viewer.docks.shortcuts import HIDE_KEY, TASK_KEY
from napari_mtlpath.viewer.docks.slide_view import SlideView

if TYPE_CHECKING:
    from napari_mtlpath.tasks import AnyTask

SLIDER_STEPS = 200
ICON_SIZE = QSize(48, 12)


class OverlayForm(QWidget):
    """Shows and changes the session's overlay choice.

    Parameters
    ----------
    session
        The session.
    viewer
        Whose mouse is followed for the value under it; None without one.
    """

    def __init__(self, session: Session, viewer: "napari.Viewer | None" = None) -> None:
        super().__init__()
        self.setObjectName("overlay-form")
        self._session = session
        self._view = SlideView(viewer)
        self._shown = QCheckBox(f"Show overlay ({HIDE_KEY})")
        describe(self._shown, "overlay-visible", "Show or hide what is painted on the slide.")
        self._task = ElidedBox()
        describe(self._task, "overlay-task", f"Whose heatmap is shown; the key {TASK_KEY} goes to the next task.")
        self._kinds = {kind: QRadioButton(KIND_TITLES[kind]) for kind in OverlayKind}
        self._kind_group = QButtonGroup(self)
        self._opacity = _slider("overlay-opacity", "How strongly the heatmap covers the slide.")
        self._opacity_words = QLabel()
        describe(self._opacity_words, "overlay-opacity-words", "0 % shows the slide alone, 100 % hides it.")
        self._threshold = _slider("overlay-threshold", "Tiles below this value are not coloured.")
        self._threshold_words = PlainLabel("overlay-threshold-words", tooltip="What the slider above hides.")
        self._colormap = ElidedBox()
        describe(self._colormap, "overlay-colormap", "Colours in which equal steps look equal.")
        self._outline = QCheckBox("Outline the tiles that the router selected")
        describe(
            self._outline,
            "overlay-outline",
            "The fewest tiles that together hold most of the routing weight (top-p): what the task's experts read.",
        )
        self._contours = QCheckBox("Contours only")
        describe(self._contours, "overlay-contours", "Draw the classes as lines around them, so that the slide shows.")
        self._class = ElidedBox()
        describe(self._class, "overlay-class", "Whose probability is shown.")
        self._classes = ClassLegend()
        self._legend = Legend()
        self._legend_words = PlainLabel("overlay-legend-words", tooltip="How to read the colours.")
        self._hover = PlainLabel("overlay-hover", tooltip="The raw value of the tile under the mouse.")
        self._hint = PlainLabel("overlay-hint", _HINT, tooltip="What has to happen before there is a heatmap.")
        self._controls = QWidget()
        self._controls.setObjectName("overlay-controls")
        self._fill()
        self._build()
        self._connect()
        self._show_tasks()

    def _fill(self) -> None:
        for kind, button in self._kinds.items():
            button.setObjectName(f"overlay-kind-{kind.value}")
            self._kind_group.addButton(button)
        self._colormap.setIconSize(ICON_SIZE)
        for name in COLORMAPS:
            self._colormap.addItem(colormap_icon(name), name)

    def _build(self) -> None:
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(4)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        kinds = QHBoxLayout()
        for button in self._kinds.values():
            kinds.addWidget(button)
        self._form = form
        form.addRow(QLabel("Task"), self._task)
        form.addRow(kinds)
        opacity = QHBoxLayout()
        opacity.addWidget(self._opacity, 1)
        opacity.addWidget(self._opacity_words)
        form.addRow(QLabel("Opacity"), opacity)
        form.addRow(QLabel("Class"), self._class)
        form.addRow(QLabel("Threshold"), self._threshold)
        form.addRow(self._threshold_words)
        form.addRow(QLabel("Colours"), self._colormap)
        inner = QVBoxLayout(self._controls)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(4)
        inner.addWidget(self._shown)
        inner.addLayout(form)
        for widget in (self._outline, self._contours, self._classes, self._legend, self._legend_words, self._hover):
            inner.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 6)
        layout.addWidget(self._hint)
        layout.addWidget(self._controls)

    def _connect(self) -> None:
        session = self._session
        self._shown.toggled.connect(lambda on: session.set_overlay(visible=on))
        self._outline.toggled.connect(lambda on: session.set_overlay(outline=on))
        self._contours.toggled.connect(lambda on: session.set_overlay(contours=on))
        self._class.activated.connect(lambda index: session.set_overlay(shown_class=self._class.itemText(index)))
        self._task.activated.connect(lambda index: session.set_overlay(task=self._task.itemData(index)))
        self._colormap.activated.connect(lambda index: session.set_overlay(colormap=COLORMAPS[index]))
        for kind, button in self._kinds.items():
            button.clicked.connect(lambda _=False, kind=kind: session.set_overlay(kind=kind))
        self._opacity.valueChanged.connect(lambda step: session.set_overlay(opacity=step / SLIDER_STEPS))
        self._threshold.valueChanged.connect(self._set_threshold)
        self._bridge = bridge = Bridge(session, self)
        bridge.tasks_changed.connect(self._show_tasks)
        for news in (bridge.overlay_changed, bridge.report_changed, bridge.slide_changed):
            news.connect(self._show)
        self._view.on_mouse(self._point)
        self.destroyed.connect(self._view.leave)

    def _chosen_task(self) -> "AnyTask | None":
        choice = self._session.overlay
        return next((task for task in self._session.tasks if task.name == choice.task), None)

    def _scale(self) -> ColourScale | None:
        choice = self._session.overlay
        task = self._chosen_task()
        heatmap = chosen_heatmap(self._session.result, choice)
        return colour_scale(choice.kind, task, heatmap) if task is not None else None

    def _set_threshold(self, step: int) -> None:
        scale = self._scale()
        if scale is not None:
            self._session.set_overlay(threshold=scale.at(step / SLIDER_STEPS))

    def _show_tasks(self) -> None:
        self._task.clear()
        for task in self._session.tasks:
            self._task.addItem(task_title(task), task.name)
        self._show()

    def _show(self, _: object = None) -> None:
        scale, choice = self._scale(), self._session.overlay
        self._hint.setVisible(scale is None)
        self._controls.setVisible(scale is not None)
        if scale is None:
            return
        widgets = (self._shown, self._outline, self._contours, self._opacity, self._threshold)
        for widget in widgets:
            widget.blockSignals(True)
        self._shown.setChecked(choice.visible)
        self._outline.setChecked(choice.outline)
        self._contours.setChecked(choice.contours)
        self._opacity.setValue(round(choice.opacity * SLIDER_STEPS))
        self._threshold.setValue(round(scale.fraction(choice.threshold) * SLIDER_STEPS))
        for widget in widgets:
            widget.blockSignals(False)
        self._task.setCurrentIndex(self._task.findData(choice.task))
        self._colormap.setCurrentIndex(COLORMAPS.index(choice.colormap))
        self._show_kinds()
        self._show_classes()
        self._opacity_words.setText(f"{choice.opacity:.0%}")
        filled = choice.kind is OverlayKind.CLASSES
        self._threshold_words.say("" if filled else threshold_words(choice.threshold, choice.kind, scale))
        self._legend.show_scale(
            choice.colormap, scale.low, scale.high, threshold=choice.threshold, opacity=choice.opacity
        )
        self._legend_words.say(scale.words)

    def _show_kinds(self) -> None:
        choice, result = self._session.overlay, self._session.result
        offered = result.offered if result is not None else frozenset()
        worth = kinds_to_choose(self._chosen_task(), offered)
        for kind, button in self._kinds.items():
            reason = unavailable_reason(kind, choice.task or "", offered)
            button.setVisible(kind in worth)
            button.setEnabled(not reason or result is None)
            button.setToolTip(plain_tooltip(reason or _KIND_TIPS[kind]))
            if kind is choice.kind:
                button.setChecked(True)
        selected = result.selected if result is not None else {}
        self._outline.setEnabled(result is None or choice.task in selected)

    def _show_classes(self) -> None:
        """Show what belongs to the classes of a segmentation, and hide what belongs to a scale of values."""
        choice = self._session.overlay
        classes = classes_shown(self._chosen_task())
        filled, probable = choice.kind is OverlayKind.CLASSES, choice.kind is OverlayKind.PROBABILITY
        if [self._class.itemText(place) for place in range(self._class.count())] != list(classes):
            self._class.clear()
            self._class.addItems(classes)
        self._class.setCurrentIndex(classes.index(choice.shown_class) if choice.shown_class in classes else 0)
        self._classes.show_classes(classes if filled else ())
        self._form.setRowVisible(self._class, probable)
        self._contours.setVisible(filled)
        result = self._session.result
        routed = result is None or bool(result.selected)
        self._outline.setVisible(routed and not classes)
        for row in (self._threshold, self._colormap):
            self._form.setRowVisible(row, not filled)
        self._legend.setVisible(not filled)

    def _point(self, y: float, x: float) -> None:
        """Say the value under the mouse."""
        scale = self._scale()
        words = words_under(self._session.result, self._session.overlay, scale, y, x) if scale is not None else ""
        if words:
            self._hover.say(f"Under the mouse: {words}")


def _slider(name: str, tooltip: str) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    describe(slider, name, tooltip)
    slider.setRange(0, SLIDER_STEPS)
    return slider


_HINT = "Heatmaps appear here once a model is loaded."

_KIND_TIPS = {
    OverlayKind.ROUTING: "How strongly the task's router picks each tile.",
    OverlayKind.ATTENTION: "How strongly the task looks at each tile.",
    OverlayKind.PREDICTION: "What the task answers for each tile, or each pixel, alone.",
    OverlayKind.CLASSES: "Each pixel in the colour of its most probable class.",
    OverlayKind.PROBABILITY: "How probable one class is, pixel by pixel.",
    OverlayKind.CROSS_TASK: "What this task offers the model's other tasks, pixel by pixel.",
}


class OverlaySection(SectionDock):
    """The Overlays section as a dock of its own."""

    def __init__(self, viewer: napari.Viewer) -> None:
        session = session_of(viewer)
        super().__init__(session, OverlayForm(session, viewer), viewer)
