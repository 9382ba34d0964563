"""The docks in a real viewer: opened as a user opens them, following camera, mouse and keys."""

import threading

import pytest
from qtpy.QtWidgets import QApplication, QLabel, QWidget
from session_fakes import FakeAnalysis, FakeStore, fake_model, fake_report
from synthetic import tissue, write_aperio_like

from napari_mtlpath.inference.heatmap import Heatmap, HeatmapKind
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.viewer.binding import binding_of, session_of
from napari_mtlpath.viewer.docks import model_chooser

pytestmark = pytest.mark.gui

WIDGETS = ("Pathology panel", "Slide", "Model and predictions", "Overlays", "Gallery", "Tasks and labels", "Fine-tune")


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory):
    return write_aperio_like(tmp_path_factory.mktemp("slides") / "clouds.svs", tissue(1024, 1536), mpp=0.5, label=True)


@pytest.fixture
def viewer(make_napari_viewer, monkeypatch):
    monkeypatch.setattr(model_chooser, "model_offers", lambda: ())
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 800)
    session = session_of(viewer)
    session._keeper._make = lambda slide, model, on_report: FakeAnalysis(slide, model, on_report, talk=False)
    session._holdings._store = FakeStore()
    yield viewer
    binding_of(viewer).close()


@pytest.fixture
def panel(viewer):
    _, panel = viewer.window.add_plugin_dock_widget("napari-mtlpath", "Pathology panel")
    return panel


def child(widget, name, kind=QWidget):
    found = widget.findChild(kind, name)
    assert found is not None, f"no {name}"
    return found


def analyse(viewer, until, slide_path):
    """Open the slide, use a fake model, and report a heatmap whose values are the tiles' numbers."""
    session = session_of(viewer)
    slide, model = open_slide(slide_path, cache=session.cache), fake_model()
    session.attach_slide(slide)
    until(lambda: binding_of(viewer).slide_layer() is not None)
    session.set_model(model)
    until(lambda: session.live is not None)
    grid = TileGrid.for_slide(height=slide.height, width=slide.width, mpp=slide.resolution.mpp, spec=model.card.tile)
    values = 0.01 * numbers(grid)
    report = fake_report(slide, model)
    report.result.heatmaps.clear()
    for task in model.tasks:
        key = (task.name, HeatmapKind.ROUTING)
        report.result.heatmaps[key] = Heatmap(task=task.name, kind=HeatmapKind.ROUTING, values=values, grid=grid)
    session.live.on_report(report)
    return slide, grid


def numbers(grid):
    import numpy as np

    return np.arange(len(grid), dtype=np.float32).reshape(grid.shape)


@pytest.mark.parametrize("name", WIDGETS)
def test_every_widget_of_the_manifest_opens_and_closes(viewer, until, name):
    dock, widget = viewer.window.add_plugin_dock_widget("napari-mtlpath", name)
    until(child(widget, "research-use").isVisible)
    viewer.window.remove_dock_widget(dock)


def test_the_panel_leaves_a_usable_canvas_at_1280_by_800(viewer, panel, until, slide_path):
    analyse(viewer, until, slide_path)
    QApplication.processEvents()
    assert 300 <= panel.width() <= 360
    assert viewer.canvas.size[1] >= 500
    scroll = child(panel, "dock-scroll")
    assert scroll.horizontalScrollBar().maximum() == 0


def test_the_minimap_follows_the_camera_and_moves_it(viewer, panel, until, slide_path):
    slide, _ = analyse(viewer, until, slide_path)
    minimap = child(panel, "slide-minimap")
    until(lambda: minimap.rect_shown is not None)
    viewer.scene.camera.zoom = viewer.scene.camera.zoom * 6
    minimap.moved.emit(300.0, 1000.0)
    y, x = binding_of(viewer).slide_layer().world_to_data(viewer.scene.camera.center[-2:])
    assert (round(y), round(x)) == (300, 1000)
    top, left, bottom, right = minimap.rect_shown
    assert abs((top + bottom) / 2 - 300) < 2
    assert abs((left + right) / 2 - 1000) < 2
    assert bottom - top < slide.height


def test_the_value_under_the_mouse_is_the_tiles(viewer, panel, until, slide_path):
    _, grid = analyse(viewer, until, slide_path)
    hover = child(panel, "overlay-hover", QLabel)
    until(lambda: child(panel, "overlay-controls").isVisible())
    row, column = 3, 5
    mpp = 0.5
    position = ((row + 0.5) * grid.side * mpp, (column + 0.5) * grid.side * mpp)
    for callback in viewer.mouse_move_callbacks:
        callback(viewer, type("Event", (), {"position": position})())
    assert hover.text() == f"Under the mouse: {0.01 * (row * grid.columns + column):.3g} x the average tile"


def test_keys_work_while_a_dock_is_open_and_are_given_back(viewer, panel, until, slide_path):
    analyse(viewer, until, slide_path)
    session = session_of(viewer)
    press(viewer, "H")
    assert not session.overlay.visible
    press(viewer, "N")
    assert session.overlay.task == "neutrophils"
    press(viewer, "K")
    assert session.paused
    _, second = viewer.window.add_plugin_dock_widget("napari-mtlpath", "Overlays")
    viewer.window.remove_dock_widget(second)
    press(viewer, "K")
    assert not session.paused
    viewer.window.remove_dock_widget(panel)
    until(lambda: not viewer.keymap)


def press(viewer, key):
    found = [action for bound, action in viewer.keymap.items() if str(bound) == key]
    assert len(found) == 1, f"{key} is bound {len(found)} times"
    found[0](viewer)


def test_closing_the_viewer_with_the_panel_open_leaves_no_thread(viewer, panel, until, slide_path):
    analyse(viewer, until, slide_path)
    binding_of(viewer).close()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("mtlpath")])
    assert not FakeAnalysis.alive


def test_a_slide_opened_in_the_panel_lands_on_the_canvas(viewer, panel, until, slide_path):
    child(panel, "open-slide-form").open_path(str(slide_path))
    until(lambda: binding_of(viewer).slide_layer() is not None)
    until(lambda: child(panel, "slide-name").whole == "clouds.svs")
    child(panel, "slide-close").click()
    until(lambda: len(viewer.layers) == 0)
    until(lambda: child(panel, "open-slide-form").isVisible())
