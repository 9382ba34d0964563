"""Redraws come at a bounded rate that leaves slow machines time to load, and at once when a view is complete."""

from types import SimpleNamespace

import pytest

from napari_mtlpath.viewer.layers import refresher as module
from napari_mtlpath.viewer.layers.refresher import LONGEST_INTERVAL_S, REFRESH_INTERVAL_S, Refresher

pytestmark = pytest.mark.gui


class Layer:
    """Counts how often it is redrawn, and lets a clock pass meanwhile."""

    def __init__(self, clock, seconds=0.0):
        self.redraws, self._clock, self._seconds = 0, clock, seconds

    def refresh(self, **_):
        self.redraws += 1
        self._clock.now += self._seconds


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_the_first_tile_of_an_old_view_is_drawn_at_once(qtbot, clock):
    refresher, layer = Refresher(), Layer(clock)
    refresher.add(layer)
    refresher.post()
    qtbot.waitUntil(lambda: layer.redraws == 1, timeout=60_000)
    assert not refresher.waiting


def test_the_first_tile_of_a_new_view_waits_and_the_last_does_not(qtbot, clock, monkeypatch):
    monkeypatch.setattr(module.QTimer, "singleShot", lambda *_: None)  # its turn never comes
    refresher, layer = Refresher(), Layer(clock)
    refresher.add(layer)
    refresher.seen()
    refresher.post()
    qtbot.wait(1)
    assert layer.redraws == 0
    assert refresher.waiting
    refresher.post(at_once=True)
    qtbot.waitUntil(lambda: layer.redraws == 1, timeout=60_000)
    assert not refresher.waiting


@pytest.mark.parametrize(
    ("seconds", "interval"), [(0.001, REFRESH_INTERVAL_S), (0.05, 0.15), (5.0, LONGEST_INTERVAL_S)]
)
def test_a_slow_redraw_leaves_the_next_one_more_time(qtbot, clock, seconds, interval):
    refresher, layer = Refresher(), Layer(clock, seconds)
    refresher.add(layer)
    refresher.post()
    qtbot.waitUntil(lambda: layer.redraws == 1, timeout=60_000)
    qtbot.waitUntil(lambda: refresher.interval == pytest.approx(interval), timeout=60_000)
