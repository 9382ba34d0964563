"""Labelling on the slide: markers of what is labelled, a tool in hand, and what clicks and keys do with it."""

import importlib
from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.QtCore import QObject, QTimer, Signal

from napari_mtlpath.review.task_draft import TaskKind
from napari_mtlpath.session.label_place import LabelPlace
from napari_mtlpath.session.messages import Level
from napari_mtlpath.viewer.gui_time import gui_span
from napari_mtlpath.viewer.layers.label_markers import MarkerLayer
from napari_mtlpath.viewer.layers.quiet import add_quietly
from napari_mtlpath.viewer.layers.region_layer import RegionLayer
from napari_mtlpath.viewer.layers.slide_layer import slide_of, units_of
from napari_mtlpath.viewer.layers.tile_clicks import TileClicks, Tool
from napari_mtlpath.viewer.worker import Job, run

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_mtlpath.session.session import Session
    from napari_mtlpath.viewer.bridge import Bridge


class LabelLayers(QObject):
    """Keeps the layers of labels equal to the session's labels; they are there while there is something to show or do.

    Our layers may be removed at any time: labels do not live in them.

    Parameters
    ----------
    viewer
        Where to paint; only a weak reference is kept.
    session
        Whose labels.
    """

    changed = Signal()
    """The tool or the answer in hand is another one."""

    def __init__(self, viewer: "ViewerModel", session: "Session") -> None:
        super().__init__()
        self._viewer = ref(viewer)
        self._session = session
        self._place: LabelPlace | None = None
        self._markers: MarkerLayer | None = None
        self._regions: RegionLayer | None = None
        self._tool = Tool.NONE
        self._value = 1.0
        self._task: str | None = None
        self._hidden = False
        self._busy = False
        self._closed = False
        self._preparing: Job | None = None
        self._clicks = TileClicks(session, self)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.selection.events.active.connect(self._on_active)
        viewer.mouse_move_callbacks.append(self._clicks.move)

    def listen(self, bridge: "Bridge") -> None:
        """Repaint whenever the labels are others."""
        bridge.labels_changed.connect(self.update)
        bridge.slide_changed.connect(self.update)

    @property
    def tool(self) -> Tool:
        """What a click on the slide does."""
        return self._tool

    @property
    def value(self) -> float:
        """The answer that is given next."""
        return self._value

    @property
    def place(self) -> LabelPlace | None:
        """The tiles that are shown, to which clicks belong."""
        return self._place

    @property
    def markers(self) -> MarkerLayer | None:
        """The markers, while they are shown."""
        return self._markers

    @property
    def regions(self) -> RegionLayer | None:
        """The regions, while they are shown."""
        return self._regions

    def hold(self, value: float) -> None:
        """Take an answer in hand."""
        self._value = value
        draft, regions = self._session.labels.task, self._regions
        if regions is not None and draft is not None and self._tool not in (Tool.NONE, Tool.TILES):
            regions.draw(self._tool.value, colour=draft.colour(value), zoom=self._zoom())
        self.changed.emit()

    def use(self, tool: Tool) -> None:
        """Take a tool in hand, or put it away."""
        labels = self._session.labels
        self.update()  # a slide or a task of before takes its tool with it
        if tool is not Tool.NONE and (labels.task is None or labels.place is None):
            tool = Tool.NONE
        self._tool = tool
        self._hidden &= tool is Tool.NONE
        if tool not in (Tool.NONE, Tool.TILES) and self._regions is None:
            self._prepare()
        self.update()
        self._take_up()
        self.changed.emit()

    def update(self, _: object = None) -> None:
        """Show what the session knows now."""
        viewer = self._viewer()
        if viewer is None or self._closed:
            return
        with gui_span("paint labels"):
            labels = self._session.labels
            place, draft = labels.place, labels.task
            if place is not self._place or (draft is not None and draft.name != self._task):
                self._leave(viewer)
                if draft is not None and draft.name != self._task:
                    self._task, self._value = draft.name, self._first_value()
                self._place = place
            if place is None or draft is None or not self._has_slide(viewer, place):
                self._leave(viewer)
                return
            known = labels.labels_at(place)
            if self._markers is None and not self._hidden and (known.tiles or self._tool is not Tool.NONE):
                self._add_markers(viewer, place, draft.shown)
            if self._markers is not None:
                self._markers.show({index: draft.colour(label.value) for index, label in known.tiles.items()})
            if self._regions is not None:
                self._regions.show(known.regions, draft.colour)

    def close(self) -> None:
        """Paint nothing any more."""
        self._closed = True
        if self._preparing is not None:
            self._preparing.cancel()
        viewer = self._viewer()
        if self._regions is not None:
            self._regions.close()
        self._markers = self._regions = None
        if viewer is not None:
            viewer.layers.events.removed.disconnect(self._on_removed)
            viewer.layers.selection.events.active.disconnect(self._on_active)
            if self._clicks.move in viewer.mouse_move_callbacks:
                viewer.mouse_move_callbacks.remove(self._clicks.move)

    def _first_value(self) -> float:
        draft = self._session.labels.task
        if draft is None:
            return 1.0
        return draft.high if draft.kind is TaskKind.REGRESSION else float(draft.kind is TaskKind.BINARY)

    def _add_markers(self, viewer: "ViewerModel", place: LabelPlace, title: str) -> None:
        from napari_mtlpath.inference.heatmap import placement  # imports torch, which is there once there is a model

        where = placement(place.grid, place.grid.mpp)
        units = units_of(place.slide.resolution)
        self._markers = MarkerLayer(place.grid.shape, f"{title}: labels", where=where, units=units)
        layer = self._markers.layer
        self._clicks.take(layer)
        self._busy = True
        try:
            add_quietly(viewer, layer)
        finally:
            self._busy = False
        QTimer.singleShot(0, self._add_hover)  # apart: a new layer holds the GUI thread for a while

    def _add_hover(self) -> None:
        viewer, markers = self._viewer(), self._markers
        if viewer is None or self._closed or markers is None or markers.layer not in viewer.layers:
            return
        if markers.hover not in viewer.layers:
            self._busy = True
            try:
                add_quietly(viewer, markers.hover, index=viewer.layers.index(markers.layer))
            finally:
                self._busy = False

    def _prepare(self) -> None:
        """Import what napari's shapes need, more than a second of work, before the first one is made."""
        if self._preparing is None:
            self._preparing = run(lambda: importlib.import_module("pandas"), on_done=lambda _: self._add_regions())

    def _add_regions(self) -> None:
        self._preparing = None
        viewer, place, draft = self._viewer(), self._place, self._session.labels.task
        drawing = self._tool not in (Tool.NONE, Tool.TILES)
        if viewer is None or self._closed or place is None or draft is None or self._regions is not None or not drawing:
            return
        self._regions = RegionLayer(
            f"{draft.shown}: regions",
            scale=place.grid.mpp,
            units=units_of(place.slide.resolution),
            on_drawn=self._on_drawn,
            on_removed=lambda key: self._session.labels.remove_region(key, place=place),
            on_refused=self._on_refused,
        )
        self._busy = True
        try:
            add_quietly(viewer, self._regions.layer)
        finally:
            self._busy = False
        self.update()
        self._take_up()

    def _on_drawn(self, corners: Any, key: str | None) -> str:  # noqa: ANN401 - an array of corners
        labels, place = self._session.labels, self._place
        known = {region.key: region.value for region in labels.labels_at(place).regions}
        return labels.draw_region(corners, known.get(key or "", self._value), key=key, place=place)

    def _on_refused(self, sentence: str) -> None:
        if sentence:
            self._session.say(Level.WARNING, sentence)
        else:
            self.update()

    def _take_up(self) -> None:
        """Make the tool's layer the active one, which gets the clicks and keys."""
        viewer, draft = self._viewer(), self._session.labels.task
        if viewer is None:
            return
        drawing = self._tool not in (Tool.NONE, Tool.TILES)
        if self._regions is not None and draft is not None:
            if drawing:
                self._regions.draw(self._tool.value, colour=draft.colour(self._value), zoom=self._zoom())
            else:
                self._regions.rest()
        holder = self._regions if drawing else self._markers if self._tool is Tool.TILES else None
        if holder is not None and holder.layer in viewer.layers:
            self._busy = True
            viewer.layers.selection.active = holder.layer
            self._busy = False
        if self._tool is not Tool.TILES and self._markers is not None:
            self._markers.point_at(None)

    def _zoom(self) -> float:
        viewer, place = self._viewer(), self._place
        return viewer.scene.camera.zoom * place.grid.mpp[0] if viewer is not None and place is not None else 1.0

    def _has_slide(self, viewer: "ViewerModel", place: LabelPlace) -> bool:
        return any(slide_of(layer) is place.slide for layer in viewer.layers)

    def _leave(self, viewer: "ViewerModel") -> None:
        """Take the layers away; labels stay."""
        layers = [self._markers.layer, self._markers.hover] if self._markers is not None else []
        if self._regions is not None:
            self._regions.close()
            layers.append(self._regions.layer)
        had_tool = self._tool is not Tool.NONE
        self._markers = self._regions = None
        self._tool, self._hidden = Tool.NONE, False
        self._busy = True
        try:
            for layer in layers:
                if layer in viewer.layers:
                    viewer.layers.remove(layer)
        finally:
            self._busy = False
        if had_tool:
            self.changed.emit()

    def _on_active(self, _: object = None) -> None:
        """Put the tool away when the user turns to another layer."""
        viewer = self._viewer()
        if viewer is None or self._busy or self._closed or self._tool is Tool.NONE:
            return
        active = viewer.layers.selection.active
        ours = [holder.layer for holder in (self._markers, self._regions) if holder is not None]
        if active is not None and active not in ours:
            self.use(Tool.NONE)

    def _on_removed(self, event: Any) -> None:  # noqa: ANN401
        """Forget a layer that the user deleted; the labels stay, and a tool brings it back."""
        if self._busy or self._closed:
            return
        gone = event.value
        if self._markers is not None and gone in (self._markers.layer, self._markers.hover):
            self._hidden = True
            QTimer.singleShot(0, self._after_removal)
        elif self._regions is not None and gone is self._regions.layer:
            self._regions.close()
            self._regions = None
            QTimer.singleShot(0, self._after_removal)

    def _after_removal(self) -> None:
        viewer = self._viewer()
        if viewer is None or self._closed:
            return
        if self._hidden and self._markers is not None:
            self._leave(viewer)
            self._hidden = True
        if self._tool is not Tool.NONE:
            self.use(Tool.NONE)
