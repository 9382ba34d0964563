"""Regions to draw and to change: a shapes layer that stays equal to the labels, whoever changes one of the two."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from napari_mtlpath.viewer.gui_time import gui_span

if TYPE_CHECKING:
    from napari_mtlpath.review.tile_labels import Region

REGIONS_KEY = "mtlpath_regions"
"""Marks the metadata of a regions' layer."""

LINE_WIDTH_PX = 3.0
"""Width of a region's line on the screen when it is drawn, in screen pixels."""

ELLIPSE_CORNERS = 64
HALF_PIXEL = 0.5
"""napari counts pixel centres at whole numbers, labels count pixel edges."""


@dataclass(frozen=True, kw_only=True)
class ShownRegion:
    """A region as the layer shows it: its key, its outer line [n, 2] in pixel centres, its colour."""

    key: str
    outline: tuple[tuple[float, float], ...]
    colour: str
    whole: bool


class RegionLayer:
    """The layer of one slide's regions.

    Parameters
    ----------
    name
        What the layer is called.
    scale, units
        Microns per pixel of level 0, (y, x), and the world units of the slide's layer.
    on_drawn
        Called with corners (y, x; pixel edges) and the key of the region that they replace, or None for a new one;
        returns the region's key. A ValueError of it is said through `on_refused`.
    on_removed
        Called with a region's key.
    on_refused
        Called with a sentence about what was refused, then with an empty one: the layer is to show the labels again.
    """

    def __init__(
        self,
        name: str,
        *,
        scale: tuple[float, float],
        units: tuple[str, str],
        on_drawn: Callable[[NDArray[np.float64], str | None], str],
        on_removed: Callable[[str], object],
        on_refused: Callable[[str], object],
    ) -> None:
        self._on_drawn = on_drawn
        self._on_removed = on_removed
        self._on_refused = on_refused
        self._shown: list[ShownRegion] = []
        self._colour = ""
        self._busy = False
        self._closed = False
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._hear)
        self._removed: list[str] = []
        self.layer = Shapes(
            ndim=2,
            name=name,
            scale=scale,
            units=units,
            axis_labels=("y", "x"),
            face_color="transparent",
            edge_width=1.0,
            metadata={REGIONS_KEY: True},
        )
        self.layer.events.data.connect(self._on_data)

    def close(self) -> None:
        """Hear what was drawn last, and nothing any more."""
        if self._timer.isActive():
            self._hear()
        self._closed = True
        self._timer.stop()
        self.layer.events.data.disconnect(self._on_data)

    def show(self, regions: "Sequence[Region]", colour_of: Callable[[float], str]) -> None:
        """Show these regions and no others."""
        if self._timer.isActive():  # What was drawn a moment ago is told first: these regions do not know of it.
            self._timer.stop()
            self._hear()
            return
        wanted = [_shown(region, colour_of(region.value)) for region in regions]
        if self._shows(wanted):
            self._shown = wanted
            return
        mode = self.layer.mode
        self._busy = True
        try:
            self.layer.mode = "pan_zoom"  # ends a line that is being drawn: its shape is about to be another one
            self.layer.selected_data = set()
            self.layer.data = []
            if wanted:
                self.layer.add(
                    [np.array(each.outline) for each in wanted],
                    shape_type="polygon",
                    edge_color=[each.colour for each in wanted],
                    face_color="transparent",
                    edge_width=self.layer.current_edge_width,
                )
            self._shown = wanted
            self.layer.mode = mode
        finally:
            self._busy = False

    def _shows(self, wanted: "Sequence[ShownRegion]") -> bool:
        """Whether the layer looks like this already, such as after the user has drawn it."""
        if len(wanted) != len(self.layer.data):
            return False
        before = {each.key: each.colour for each in self._shown}
        return all(
            before.get(each.key, self._colour) == each.colour
            and len(data) == len(each.outline)
            and np.allclose(np.asarray(data)[:, -2:], each.outline)
            for each, data in zip(wanted, self.layer.data, strict=True)
        )

    def draw(self, mode: str, *, colour: str, zoom: float) -> None:
        """Let the user draw with a tool of napari's: ``add_polygon``, ``add_rectangle`` or ``add_polygon_lasso``.

        Parameters
        ----------
        mode
            The tool.
        colour
            Of the line.
        zoom
            Screen pixels per pixel of the slide, from which the line's width follows.
        """
        self.layer.selected_data = set()
        self._colour = self.layer.current_edge_color = colour
        self.layer.current_face_color = "transparent"
        self.layer.current_edge_width = LINE_WIDTH_PX / max(zoom, 1e-6)
        self.layer.mode = mode

    def rest(self) -> None:
        """Stop drawing."""
        self.layer.mode = "pan_zoom"

    def _on_data(self, event: Any) -> None:  # noqa: ANN401 - napari's events are not typed
        if self._busy or self._closed:
            return
        action = str(getattr(event, "action", "")).rsplit(".", 1)[-1].lower()
        if action == "removed":
            count = len(self._shown)
            gone = {index % count for index in event.data_indices if count and -count <= index < count}
            self._removed += [each.key for index, each in enumerate(self._shown) if index in gone]
            self._shown = [each for index, each in enumerate(self._shown) if index not in gone]
        if action in ("added", "changed", "removed"):
            self._timer.start(0)  # napari is still in the middle of it

    def _hear(self) -> None:
        """Tell what was drawn, changed and removed."""
        with gui_span("region drawn"):
            removed, self._removed = self._removed, []
            for key in removed:
                self._on_removed(key)
            outlines = list(zip(self.layer.data, self.layer.shape_type, strict=True))
            known: list[ShownRegion | None] = [*self._shown, *[None] * len(outlines)]
            told = [
                self._told(np.asarray(data, np.float64)[:, -2:], str(kind), shown)
                for (data, kind), shown in zip(outlines, known, strict=False)
            ]
            if None in told:
                self._on_refused("")
            else:
                self._shown = [shown for shown in told if shown is not None]

    def _told(self, data: NDArray[np.float64], kind: str, shown: ShownRegion | None) -> ShownRegion | None:
        """Tell what was drawn or changed and return what is shown now; None where it was refused."""
        if shown is not None and len(data) == len(shown.outline) and np.allclose(data, shown.outline):
            return shown
        try:
            if shown is not None and not shown.whole:
                raise ValueError("A region with holes or several parts is changed in QuPath; here it can be removed.")
            key = self._on_drawn(_corners(data, kind) + HALF_PIXEL, shown.key if shown is not None else None)
        except ValueError as error:
            self._on_refused(str(error))
            return None
        colour = shown.colour if shown is not None else self._colour
        return ShownRegion(key=key, outline=tuple(map(tuple, data.tolist())), colour=colour, whole=True)


def _shown(region: "Region", colour: str) -> ShownRegion:
    ring = max((polygon[0] for polygon in region.area), key=len)
    outline = tuple((y - HALF_PIXEL, x - HALF_PIXEL) for y, x in ring)
    whole = len(region.area) == 1 and len(region.area[0]) == 1
    return ShownRegion(key=region.key, outline=outline, colour=colour, whole=whole)


def _corners(data: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """Return a shape's outline; napari keeps an ellipse as the corners of the box around it."""
    if kind in ("polygon", "rectangle"):
        return data
    if kind != "ellipse":
        raise ValueError("A line has no inside, so it labels nothing. Draw a polygon, a rectangle or a lasso.")
    centre, first, second = data.mean(axis=0), (data[1] - data[0]) / 2, (data[3] - data[0]) / 2
    angles = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)[:, None]
    return centre + np.cos(angles) * first + np.sin(angles) * second
