"""Redraws the layers of a slide when tiles arrived, at a bounded rate."""

import threading
import time
from weakref import WeakSet

from napari.layers import Layer
from qtpy.QtCore import QTimer

from napari_mtlpath.viewer.gui_time import gui_span
from napari_mtlpath.viewer.mailbox import Mailbox

REFRESH_INTERVAL_S = 0.05
"""Layers are redrawn at most this often (20 Hz), and once more when the view is complete: each redraw uploads it."""

REST_PER_REDRAW = 3.0
"""After a redraw, so many times its length is left to the loading of tiles, which a slow graphics card would delay."""

LONGEST_INTERVAL_S = 0.4
"""However slow a redraw is, the next one does not wait longer than this for its turn."""


class Refresher:
    """Redraws layers soon after :meth:`post` is called in any thread."""

    def __init__(self) -> None:
        self._layers: WeakSet[Layer] = WeakSet()
        self._overviews: WeakSet[Layer] = WeakSet()
        self._lock = threading.Lock()
        self._waiting = False
        self._thumbnail = False
        self._last = 0.0
        self._interval = REFRESH_INTERVAL_S
        self._mailbox: Mailbox[bool] = Mailbox(self._schedule)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that are redrawn."""
        return tuple(self._layers)

    @property
    def waiting(self) -> bool:
        """Whether a redraw was asked for that has not happened yet."""
        return self._waiting

    @property
    def interval(self) -> float:
        """Seconds from one redraw to the next; longer where redraws are slow."""
        return self._interval

    def add(self, layer: Layer, *, only_overview: bool = False) -> None:
        """Redraw this layer from now on, or only when the overview is complete; no reference to it is kept."""
        (self._overviews if only_overview else self._layers).add(layer)

    def discard(self, layer: Layer) -> None:
        """Leave this layer alone from now on."""
        self._layers.discard(layer)

    def post(self, *, thumbnail: bool = False, at_once: bool = False) -> None:
        """Ask for a redraw; call it from any thread, as often as you like.

        Parameters
        ----------
        thumbnail
            Whether the overview has changed, too.
        at_once
            Do not wait for the next turn: the view is complete, and nothing follows.
        """
        with self._lock:
            self._thumbnail |= thumbnail
            if self._waiting and not at_once:
                return
            self._waiting = True
        self._mailbox.post(at_once)

    def seen(self) -> None:
        """Count what napari draws of a new view as a redraw: the first tiles wait their turn. Call it in any thread."""
        self._last = time.monotonic()

    def close(self) -> None:
        """Redraw nothing any more."""
        self._mailbox.close()
        self._layers.clear()
        self._overviews.clear()

    def _schedule(self, at_once: bool) -> None:
        due = self._last + self._interval - time.monotonic()
        if at_once or due <= 0:
            self._redraw()
        else:
            QTimer.singleShot(round(due * 1000), self._redraw)

    def _redraw(self) -> None:
        with self._lock:
            if not self._waiting:  # The view was completed in the meantime, and drawn.
                return
            self._waiting = False
            thumbnail, self._thumbnail = self._thumbnail, False
        self._last = time.monotonic()
        QTimer.singleShot(0, self._drawn)  # its turn comes after the canvas has been painted
        for layer in (*self.layers, *(self._overviews if thumbnail else ())):
            with gui_span("refresh"):
                layer.refresh(extent=False, thumbnail=thumbnail, highlight=False)

    def _drawn(self) -> None:
        """Leave a slow redraw more time until the next."""
        now = time.monotonic()
        rest = REST_PER_REDRAW * (now - self._last)
        self._interval = min(max(rest, REFRESH_INTERVAL_S), LONGEST_INTERVAL_S)
        self._last = now
