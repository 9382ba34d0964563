"""Paints the session's result over the slide: a heatmap per task, and the outline of the tiles its router selected."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QTimer

from napari_mtlpath.session.overlay import OverlayChoice, chosen_heatmap
from napari_mtlpath.session.teaching_view import TeachingPhase
from napari_mtlpath.viewer.gui_time import gui_span
from napari_mtlpath.viewer.layers.heatmap_layer import HeatmapLayer
from napari_mtlpath.viewer.layers.outline import OUTLINE_KEY, OutlineLayer
from napari_mtlpath.viewer.layers.quiet import add_quietly
from napari_mtlpath.viewer.layers.slide_layer import slide_of, units_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_mtlpath.inference.heatmap import Heatmap, Placement
    from napari_mtlpath.session.session import Session
    from napari_mtlpath.session.teaching_view import TeachingView
    from napari_mtlpath.tasks import AnyTask
    from napari_mtlpath.viewer.bridge import Bridge


class OverlayLayers:
    """Keeps the overlay layers of a viewer equal to what its session knows and what the user chose.

    The layers belong to the user: what is changed in napari's controls stays, opacity and visibility go back to the
    session, and a layer that was deleted comes back only when the overlay is switched on again.

    Parameters
    ----------
    viewer
        Where to paint; only a weak reference is kept.
    session
        What to paint.
    """

    def __init__(self, viewer: "ViewerModel", session: "Session") -> None:
        self._viewer = ref(viewer)
        self._session = session
        self._heatmaps: dict[str, HeatmapLayer] = {}
        self._outline: OutlineLayer | None = None
        self._choice: OverlayChoice = session.overlay
        self._hidden = False
        self._busy = False
        self._closed = False
        self._deleted: set[Layer] = set()
        self._bereft = QTimer()
        self._bereft.setSingleShot(True)
        self._bereft.timeout.connect(self._own_up)
        viewer.layers.events.removed.connect(self._on_removed)

    def listen(self, bridge: "Bridge") -> None:
        """Repaint whenever the session has news."""
        for signal in (bridge.overlay_changed, bridge.report_changed, bridge.model_changed, bridge.slide_changed):
            signal.connect(self._on_news)
        bridge.teaching_changed.connect(self._on_teaching)

    @property
    def shown(self) -> HeatmapLayer | None:
        """The heatmap of the chosen task, if it has a layer."""
        return self._heatmaps.get(self._choice.task or "")

    @property
    def bereft(self) -> bool:
        """Whether the user has just deleted a layer, so that nothing is painted until it is clear what it means."""
        return bool(self._deleted)

    def update(self) -> None:
        """Paint what the session knows now."""
        viewer = self._viewer()
        if viewer is None or self._closed or self._deleted:
            return
        before, self._choice = self._choice, self._session.overlay
        heatmap = self._heatmap()
        self._busy = True
        try:
            if heatmap is not None:
                self._paint(viewer, heatmap, before)
            elif self._is_awaited():
                self._hide()
            else:
                self._clear(viewer)
        finally:
            self._busy = False

    def prepare(self, task: "AnyTask") -> None:
        """Make the layer of a task that is about to be answered, hidden: napari takes a tenth of a second for that."""
        viewer, slide, result = self._viewer(), self._session.slide, self._session.result
        known = next(iter(result.heatmaps.values()), None) if result is not None else None
        if viewer is None or self._closed or self._deleted or slide is None or slide.resolution.mpp is None:
            return
        if known is None or not self._choice.visible or task.name in self._heatmaps:
            return
        from napari_mtlpath.inference.heatmap import Heatmap, placement

        nothing = np.full(known.values.shape, np.nan, dtype=np.float32)
        heatmap = Heatmap(task=task.name, kind=known.kind, values=nothing, grid=known.grid)
        where = placement(known.grid, slide.resolution.mpp)
        self._busy = True
        self._add(viewer, task, heatmap, where, replace(self._choice, task=task.name, visible=False))
        self._busy = False

    def forget_unknown(self) -> None:
        """Take the layers of tasks away that were dropped before they were answered."""
        viewer, known = self._viewer(), {task.name for task in self._session.tasks}
        if viewer is None or self._closed or self._session.result is None:
            return
        self._busy = True
        for name in [name for name in self._heatmaps if name not in known]:
            layer = self._heatmaps.pop(name).layer
            if layer in viewer.layers:
                viewer.layers.remove(layer)
        self._busy = False

    def place(self) -> None:
        """Take the layers away: after a change of resolution the tiles are others, and their values come anew."""
        viewer = self._viewer()
        if viewer is not None:
            self._busy = True
            self._clear(viewer)
            self._busy = False

    def close(self) -> None:
        """Paint nothing any more."""
        self._closed = True
        self._bereft.stop()
        viewer = self._viewer()
        if viewer is not None:
            viewer.layers.events.removed.disconnect(self._on_removed)
        self._heatmaps.clear()
        self._outline = None

    def _heatmap(self) -> "Heatmap | None":
        result, task = self._session.result, self._choice.task
        if result is None or self._session.slide is None or task is None:
            return None
        return chosen_heatmap(result, self._choice)

    def _is_awaited(self) -> bool:
        """Whether slide and model are those of the layers, and the answers of the chosen task are still to come."""
        session = self._session
        ours = all(shown.task in session.tasks for shown in self._heatmaps.values())
        return session.result is not None and self._choice.task is not None and ours

    def _hide(self) -> None:
        """Show nothing for the moment: taking a layer away costs half a second, in which napari collects garbage."""
        self._hidden = True
        for shown in (*self._heatmaps.values(), *((self._outline,) if self._outline is not None else ())):
            shown.layer.visible = False

    def _paint(self, viewer: "ViewerModel", heatmap: "Heatmap", before: OverlayChoice) -> None:
        from napari_mtlpath.inference.heatmap import placement

        choice, slide = self._choice, self._session.slide
        task = next((task for task in self._session.tasks if task.name == heatmap.task), None)
        if slide is None or slide.resolution.mpp is None or task is None:
            return
        where = placement(heatmap.grid, slide.resolution.mpp)
        shown = self._heatmaps.get(heatmap.task)
        if shown is not None and shown.task != task:  # another model with another task of the same name
            self._clear(viewer)
            shown = None
        if shown is None and choice.visible:
            self._add(viewer, task, heatmap, where, choice)
        elif shown is not None:
            shown.choose(choice)
            shown.show(heatmap, where=where)
        if self._hidden or (choice.task, choice.visible) != (before.task, before.visible):
            for name, other in self._heatmaps.items():
                other.layer.visible = choice.visible and name == choice.task
        self._paint_outline(viewer, where)
        self._hidden = False

    def _add(
        self, viewer: "ViewerModel", task: "AnyTask", heatmap: "Heatmap", where: "Placement", choice: OverlayChoice
    ) -> None:
        slide = self._session.slide
        assert slide is not None  # a heatmap lies on one
        shown = HeatmapLayer(task, heatmap, where=where, units=units_of(slide.resolution), choice=choice)
        self._heatmaps[task.name] = shown
        add_quietly(viewer, shown.layer)
        shown.layer.events.opacity.connect(self._on_layer_opacity)
        shown.layer.events.visible.connect(self._on_layer_visible)

    def _paint_outline(self, viewer: "ViewerModel", where: "Placement") -> None:
        choice, result, slide = self._choice, self._session.result, self._session.slide
        selected = result.selected.get(choice.task or "") if result is not None else None
        if selected is None or slide is None or not (choice.outline and choice.visible):
            self._remove_outline(viewer)
            return
        if self._outline is not None and self._outline.fits(selected):
            self._outline.show(selected, where=where)
            if self._hidden:
                self._outline.layer.visible = True
            return
        self._remove_outline(viewer)
        self._outline = OutlineLayer(selected, where=where, units=units_of(slide.resolution))
        add_quietly(viewer, self._outline.layer)

    def _clear(self, viewer: "ViewerModel") -> None:
        for shown in self._heatmaps.values():
            if shown.layer in viewer.layers:
                viewer.layers.remove(shown.layer)
        self._heatmaps.clear()
        self._remove_outline(viewer)

    def _remove_outline(self, viewer: "ViewerModel") -> None:
        if self._outline is not None and self._outline.layer in viewer.layers:
            viewer.layers.remove(self._outline.layer)
        self._outline = None

    def _on_news(self, _: object = None) -> None:
        with gui_span("paint overlays"):
            self.update()

    def _on_teaching(self, view: "TeachingView") -> None:
        """Be ready to paint the first of the tasks that are taught, while the training is being prepared."""
        if view.phase is TeachingPhase.PREPARING and view.tasks and not view.encoder_blocks:
            with gui_span("prepare overlay"):
                self.prepare(view.tasks[0])
        elif view.phase in (TeachingPhase.IDLE, TeachingPhase.FAILED):
            self.forget_unknown()

    def _on_removed(self, event: Any) -> None:  # noqa: ANN401 - napari's events are not typed
        if self._busy or self._closed:
            return
        gone = event.value
        if self._outline is not None and gone is self._outline.layer:
            self._outline = None
            self._deleted.add(gone)
        for name, shown in list(self._heatmaps.items()):
            if shown.layer is gone:
                del self._heatmaps[name]
                if name == self._choice.task:
                    self._deleted.add(gone)
        if self._deleted:
            self._bereft.start(0)

    def _own_up(self) -> None:
        """Switch off what the user deleted, unless it went with the slide, as when all layers are deleted."""
        viewer, deleted = self._viewer(), set(self._deleted)
        self._deleted.clear()
        if viewer is None or self._closed:
            return
        if any(slide_of(layer) is self._session.slide for layer in viewer.layers):
            outlines = {layer for layer in deleted if OUTLINE_KEY in layer.metadata}
            if outlines:
                self._session.set_overlay(outline=False)
            if deleted - outlines:
                self._session.set_overlay(visible=False)
        self.update()

    def _on_layer_opacity(self, event: Any) -> None:  # noqa: ANN401
        shown = self.shown
        if not self._busy and shown is not None and event.source is shown.layer:
            self._session.set_overlay(opacity=float(np.clip(shown.layer.opacity, 0.0, 1.0)))

    def _on_layer_visible(self, event: Any) -> None:  # noqa: ANN401
        shown = self.shown
        if not self._busy and shown is not None and event.source is shown.layer:
            self._session.set_overlay(visible=bool(shown.layer.visible))
