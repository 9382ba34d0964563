"""The first journey: a slide is opened, a model works on what is seen, and its heatmaps appear in their places."""

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from journey_models import TASKS, write_journey_model
from synthetic import tissue, write_aperio_like

from napari_mtlpath.folders import data_folder
from napari_mtlpath.session.session import Session

pytestmark = pytest.mark.timeout(600)

CHECKOUT = Path(__file__).parents[2]
PICTURES = CHECKOUT / "build" / "journeys"
DOCS = CHECKOUT / "docs" / "images"
MPP = 0.25


@pytest.fixture
def slide_path(tmp_path):
    """A slide whose left half is glass and whose right half is tissue."""
    pixels = tissue(1568, 2240, seed=3)
    pixels[:, :1120] = 247
    return write_aperio_like(tmp_path / "journey.svs", pixels, mpp=MPP)


@pytest.fixture
def model_name(isolated_folders):
    return write_journey_model(data_folder() / "models")


class Ears:
    """Waits for what a session says."""

    def __init__(self, session):
        self._session, self._changed = session, threading.Condition()
        self.messages = []
        session.report_changed.connect(self._wake)
        session.message.connect(self._hear)

    def until(self, holds, timeout=600.0):
        with self._changed:
            assert self._changed.wait_for(holds, timeout), f"{self._session.report}; {self.messages}"

    def _hear(self, message):
        self.messages.append(message.text)
        self._wake()

    def _wake(self, _=None):
        with self._changed:
            self._changed.notify_all()


def complete(session):
    return session.result is not None and session.result.complete


def test_a_session_alone_goes_from_file_to_heatmap(slide_path, model_name):
    session = Session()
    ears = Ears(session)
    slide = session.open_slide(slide_path)
    model = session.load_model(model_name, device="cpu")
    session.look_at((0.0, 0.0, float(slide.height), float(slide.width)))
    ears.until(lambda: complete(session))
    result = session.result
    assert (result.slide_fingerprint, result.model_digest) == (slide.fingerprint, model.digest)
    assert [answer.task.name for answer in result.tasks] == [task.name for task in TASKS]
    assert 0 < result.tiles_known == result.tiles_total
    for task in TASKS:
        routing = result.heatmaps[task.name, "routing"]
        known = np.isfinite(routing.values)
        assert known.sum() == result.tiles_known
        assert np.isclose(routing.values[known].mean(), 1.0, atol=1e-4)
        glass = routing.values[:, : 1120 // routing.grid.side - 1]
        assert not np.isfinite(glass).any()
    session.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("mtlpath")] == []


def test_a_second_visit_reads_no_tile_again(slide_path, model_name):
    first = Session()
    ears = Ears(first)
    first.open_slide(slide_path)
    first.load_model(model_name, device="cpu")
    ears.until(lambda: complete(first))
    values = first.result.tasks[0].value
    first.close()
    second = Session()
    ears = Ears(second)
    slide = second.open_slide(slide_path)
    slide.read_square = lambda *_, **__: pytest.fail("a known tile was read again")
    second.load_model(model_name, device="cpu")
    ears.until(lambda: complete(second))
    assert second.result.tasks[0].value == values
    second.close()


def test_a_slide_without_a_scale_is_analysed_once_it_is_typed(tmp_path, model_name):
    path = write_aperio_like(tmp_path / "no-scale.svs", tissue(1120, 1120), mpp=None)
    session = Session()
    ears = Ears(session)
    session.open_slide(path)
    session.load_model(model_name, device="cpu")
    ears.until(lambda: any("Type its microns per pixel" in text for text in ears.messages))
    assert session.live is None
    session.set_mpp(MPP)
    ears.until(lambda: complete(session))
    session.close()
    again = Session()
    assert again.open_slide(path).resolution.mpp == (MPP, MPP)
    again.close()


@pytest.mark.gui
def test_a_viewer_shows_slide_panel_and_heatmap(make_napari_viewer, qtbot, slide_path, model_name):
    from qtpy.QtWidgets import QAbstractButton, QComboBox, QLabel, QWidget

    from napari_mtlpath.viewer.binding import binding_of, session_of

    def until(holds):
        qtbot.waitUntil(holds, timeout=600_000)

    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 800)
    _, panel = viewer.window.add_plugin_dock_widget("napari-mtlpath", "Pathology panel")
    session = session_of(viewer)
    models = panel.findChild(QComboBox, "model-list")
    until(lambda: models.count() > 0)
    picture(viewer, "first-start")

    panel.findChild(QWidget, "open-slide-form").open_path(str(slide_path))
    until(lambda: binding_of(viewer).slide_layer() is not None)
    models.setCurrentText("Colours, by chance")
    panel.findChild(QAbstractButton, "model-load").click()
    until(lambda: complete(session))
    until(lambda: any("mtlpath_task" in layer.metadata for layer in viewer.layers))
    heatmap = next(layer for layer in viewer.layers if "mtlpath_task" in layer.metadata)
    side = session.result.heatmaps["dark", "routing"].grid.side
    assert np.allclose(heatmap.scale, (side * MPP, side * MPP))
    assert np.allclose(heatmap.translate, ((side - 1) / 2 * MPP,) * 2)
    until(lambda: "slide-level" in panel.findChild(QLabel, "predictions-scope").text())
    picture(viewer, "heatmap")

    panel.findChild(QAbstractButton, "task-pink-choose").click()
    session.set_overlay(threshold=1.0, outline=True)
    until(lambda: session.overlay.task == "pink")
    until(lambda: any(layer.metadata.get("mtlpath_task") == "pink" and layer.visible for layer in viewer.layers))
    picture(viewer, "second-task")
    viewer.theme = "light"
    picture(viewer, "light-theme")
    binding_of(viewer).close()


def picture(viewer, name):
    """Keep a screenshot below build/, and below docs/ when the pages are made anew."""
    from qtpy.QtWidgets import QApplication

    QApplication.processEvents()
    PICTURES.mkdir(parents=True, exist_ok=True)
    path = PICTURES / f"{name}.png"
    viewer.screenshot(str(path), canvas_only=False, flash=False)
    assert path.stat().st_size > 10_000
    if os.environ.get("MTLPATH_WRITE_DOCS") == "1":
        DOCS.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, DOCS / f"journey-{name}.png")
