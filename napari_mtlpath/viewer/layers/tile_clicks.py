"""What mouse and keys do over the slide while tiles are labelled."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from napari.layers import Layer

from napari_mtlpath.review.events import Origin
from napari_mtlpath.review.task_draft import MOST_CLASSES
from napari_mtlpath.session.messages import Level
from napari_mtlpath.viewer.gui_time import gui_span

if TYPE_CHECKING:
    from napari_mtlpath.session.label_place import LabelPlace
    from napari_mtlpath.session.session import Session
    from napari_mtlpath.viewer.layers.label_markers import MarkerLayer

STILL_PX = 4.0
"""Screen pixels that the mouse may move between press and release of a click."""

TAKE_BACK_KEYS = ("Delete", "Backspace")


class Tool(StrEnum):
    """What a click on the slide does; those that draw are called as napari calls them."""

    NONE = "none"
    TILES = "tiles"
    POLYGON = "add_polygon"
    RECTANGLE = "add_rectangle"
    LASSO = "add_polygon_lasso"


class Hand(Protocol):
    """What is in hand: a tool, an answer, and the tiles that it is for."""

    @property
    def tool(self) -> Tool:
        """What a click does."""

    @property
    def value(self) -> float:
        """The answer that is given next."""

    @property
    def place(self) -> "LabelPlace | None":
        """The tiles that are shown."""

    @property
    def markers(self) -> "MarkerLayer | None":
        """The markers, while they are shown."""

    def hold(self, value: float) -> None:
        """Take an answer in hand."""


class TileClicks:
    """Callbacks of a markers' layer and of its viewer's mouse.

    Parameters
    ----------
    session
        Whose labels.
    hand
        What is in hand.
    """

    def __init__(self, session: "Session", hand: Hand) -> None:
        self._session = session
        self._hand = hand

    def take(self, layer: Layer) -> None:
        """Give a layer its clicks and keys; napari asks the active layer first, so its own keys elsewhere stay."""
        for number in range(1, MOST_CLASSES + 1):
            layer.bind_key(str(number), self._answer(number), overwrite=True)
        for key in TAKE_BACK_KEYS:
            layer.bind_key(key, self._take_back, overwrite=True)
        layer.mouse_drag_callbacks.append(self.press)

    def press(self, layer: Layer, event: Any) -> Iterator[None]:  # noqa: ANN401 - napari's events are not typed
        """Label the tile that is clicked, or take that back; a drag moves the slide as ever."""
        if self._hand.tool is not Tool.TILES or event.button not in (None, 1):
            return
        start = event.pos
        yield
        while event.type == "mouse_move":
            yield
        moved = max(abs(float(end) - float(begin)) for begin, end in zip(start, event.pos, strict=True))
        markers = self._hand.markers
        if markers is None or layer is not markers.layer or moved > STILL_PX:
            return
        with gui_span("tile clicked"):
            index = markers.tile_at(event.position)
            known = self._session.labels.labels_at(self._hand.place).tiles.get(-1 if index is None else index)
            given = self._hand.value
            self._label(index, None if known is not None and known.value == given else given)

    def move(self, _viewer: Any, event: Any) -> None:  # noqa: ANN401
        """Frame the tile under the mouse."""
        markers = self._hand.markers
        if markers is not None and self._hand.tool is Tool.TILES:
            with gui_span("tile under the mouse"):
                markers.point_at(markers.tile_at(event.position))

    def _answer(self, number: int) -> Callable[[Layer], None]:
        """Return what a number key does: the answer of that number for the tile under the mouse."""

        def press(_: Layer) -> None:
            draft = self._session.labels.task
            if draft is not None and self._hand.tool is Tool.TILES and number <= len(draft.classes):
                self._hand.hold(float(number - 1))
                self._label(self._under_mouse(), self._hand.value)

        return press

    def _take_back(self, _: Layer) -> None:
        self._label(self._under_mouse(), None)

    def _under_mouse(self) -> int | None:
        markers = self._hand.markers
        return markers.hovered if markers is not None else None

    def _label(self, index: int | None, value: float | None) -> None:
        if index is None or self._hand.place is None:
            return
        try:
            self._session.labels.label_tiles([index], value, origin=Origin.TILE, place=self._hand.place)
        except ValueError as error:
            self._session.say(Level.WARNING, str(error))
