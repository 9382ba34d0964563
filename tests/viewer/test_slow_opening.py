"""napari's readers return at once; slides on slow storage do not. Scripts wait, users are told."""

import threading

import pytest
from conftest import FakeSlide, gradient
from qtpy.QtCore import QEventLoop, QTimer

from napari_mtlpath.slides.source import SlideError
from napari_mtlpath.viewer import opening
from napari_mtlpath.viewer.binding import binding_of, session_of
from napari_mtlpath.viewer.opening import layers_of

pytestmark = pytest.mark.gui


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    yield viewer
    session_of(viewer).close()


@pytest.fixture
def told(monkeypatch):
    told = []
    for name in ("show_info", "show_error"):
        monkeypatch.setattr(opening, name, told.append)
    return told


def small_slide():
    return FakeSlide(height=512, width=512, paint=gradient, levels=2)


def in_a_running_window(call):
    """Call a function from inside an event loop, as a menu or a dropped file does, and return what it returned."""
    loop, results = QEventLoop(), []

    def work():
        results.append(call())
        loop.quit()

    QTimer.singleShot(0, work)
    loop.exec()
    return results[0]


def test_a_script_gets_its_layer_however_slow_the_storage(viewer, monkeypatch, told):
    monkeypatch.setattr(opening, "PATIENCE_S", 0.0)
    ready = threading.Event()
    threading.Timer(0.3, ready.set).start()

    def open_it(_):
        ready.wait(120)
        return small_slide()

    ((levels, options, kind),) = layers_of(open_it, what="a.svs")
    assert (kind, options["name"], len(levels)) == ("image", "fake.svs", 2)
    options["metadata"]["mtlpath_display"].close(timeout=5.0)
    assert told == []


def test_the_window_lives_while_a_reader_waits(viewer):
    alive, ready = [], threading.Event()
    pulse = QTimer()
    pulse.timeout.connect(lambda: (alive.append(1), ready.set() if len(alive) > 3 else None))
    pulse.start(1)

    def open_it(_):
        assert ready.wait(120)
        return small_slide()

    monitor = session_of(viewer)
    ((_, options, _),) = in_a_running_window(lambda: layers_of(open_it, what="a.svs"))
    pulse.stop()
    assert len(alive) > 3
    assert monitor.busy is None
    options["metadata"]["mtlpath_display"].close(timeout=5.0)


def test_a_user_is_told_that_the_slide_comes_later_and_it_does(viewer, monkeypatch, told, until):
    monkeypatch.setattr(opening, "PATIENCE_S", 0.05)
    ready = threading.Event()

    def open_it(_):
        ready.wait(60)
        return small_slide()

    assert in_a_running_window(lambda: layers_of(open_it, what="a.svs")) == []
    assert told == ["A.svs is not there yet. It appears as soon as it is."]
    assert session_of(viewer).busy == "Opening a.svs"
    assert len(viewer.layers) == 0
    ready.set()
    until(lambda: binding_of(viewer).slide_layer() is not None)
    until(lambda: session_of(viewer).busy is None)


def test_a_late_failure_is_told_in_one_sentence(viewer, monkeypatch, told, until):
    monkeypatch.setattr(opening, "PATIENCE_S", 0.0)
    ready = threading.Event()

    def open_it(_):
        ready.wait(60)
        raise SlideError("'a.svs' is no slide.")

    assert in_a_running_window(lambda: layers_of(open_it, what="a.svs")) == []
    ready.set()
    until(lambda: told[1:] == ["'a.svs' is no slide."])


def test_what_the_session_says_is_heard_without_a_dock(viewer, monkeypatch, until):
    from napari_mtlpath.session.messages import Level
    from napari_mtlpath.viewer import binding

    heard = []
    monkeypatch.setattr(binding, "_TELL", dict.fromkeys(Level, heard.append))
    session_of(viewer).say(Level.WARNING, "Type its microns per pixel.")
    until(lambda: heard == ["Type its microns per pixel."])
    viewer.window.add_plugin_dock_widget("napari-mtlpath", "Pathology panel")
    session_of(viewer).say(Level.INFO, "Read in the panel.")
    marks = []
    binding_of(viewer).bridge.message.connect(marks.append)
    until(lambda: bool(marks))
    assert heard == ["Type its microns per pixel."]
