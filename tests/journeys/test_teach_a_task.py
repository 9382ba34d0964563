"""The second journey: a task that the model does not know is labelled, taught, watched, proved, saved and undone."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from teaching_journey import write_cell_smear, write_ignorant_model

from napari_mtlpath.folders import data_folder
from napari_mtlpath.session.teaching_view import TeachingPhase

pytestmark = [pytest.mark.timeout(900)]

PICTURES = Path(__file__).parents[2] / "build" / "journeys"
STEPS = 60
POSITIVES, NEGATIVES = 8, 10


@pytest.fixture
def smear(tmp_path):
    return write_cell_smear(tmp_path / "simulated-smear.tiff")


@pytest.fixture
def model_name(isolated_folders):
    return write_ignorant_model(data_folder() / "models")


class Hand:
    """A user at the window: finds widgets by name, clicks, types, and clicks tiles on the canvas."""

    def __init__(self, viewer, panel, qtbot):
        from napari_mtlpath.viewer.binding import binding_of

        self.viewer, self.panel, self.qtbot = viewer, panel, qtbot
        self.binding = binding_of(viewer)
        self.session = self.binding.session

    def child(self, name):
        from qtpy.QtWidgets import QWidget

        found = self.panel.findChild(QWidget, name)
        assert found is not None, f"no {name}"
        return found

    def until(self, holds):
        self.qtbot.waitUntil(holds, timeout=600_000)

    def click(self, name):
        from qtpy.QtCore import Qt

        button = self.child(name)
        self.until(lambda: button.isEnabled() and button.isVisible())
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def close_sections(self, *names):
        for name in names:
            self.click(f"section-{name}-heading")

    def click_tile(self, index):
        """Press and release the left button where the tile's middle is on the screen."""
        from qtpy.QtCore import QPoint, Qt

        grid = self.session.labels.place.grid
        row, column = divmod(int(index), grid.columns)
        middle = ((row + 0.5) * grid.side - 0.5, (column + 0.5) * grid.side - 0.5)
        world = np.array(self.binding.slide_layer().data_to_world(middle)[-2:])
        camera = self.viewer.scene.camera
        y, x = (world - np.array(camera.center[-2:])) * camera.zoom + np.array(self.viewer.canvas.size) / 2
        self.qtbot.mouseMove(self.canvas, QPoint(round(x), round(y)))
        self.qtbot.mouseClick(self.canvas, Qt.MouseButton.LeftButton, pos=QPoint(round(x), round(y)))

    @property
    def canvas(self):
        """The widget that napari draws on."""
        from qtpy.QtWidgets import QWidget

        window = self.viewer.window.main_menu.window()
        return next(w for w in window.findChildren(QWidget) if type(w).__name__ == "CanvasBackendDesktop")

    def picture(self, name):
        from qtpy.QtWidgets import QApplication

        QApplication.processEvents()
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"teach-{name}.png"
        self.viewer.screenshot(str(path), canvas_only=False, flash=False)
        assert path.stat().st_size > 10_000


def old_answers(model, features, tasks):
    """Everything that the tasks say about a bag."""
    with torch.inference_mode():
        output = model.aggregator(torch.from_numpy(features), explain=True)
    return [
        getattr(output.tasks[task.name], kind)
        for task in tasks
        for kind in ("logits", "embedding", "routing", "selected", "attention", "tile_logits")
    ]


@pytest.mark.gui
def test_a_newcomer_teaches_the_model_a_task_in_the_viewer(make_napari_viewer, qtbot, smear, model_name):
    path, is_kind = smear
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 800)
    _, panel = viewer.window.add_plugin_dock_widget("napari-mtlpath", "Pathology panel")
    hand = Hand(viewer, panel, qtbot)
    session, teaching = hand.session, hand.session.teaching

    models = hand.child("model-list")
    hand.until(lambda: models.count() > 0)
    hand.child("open-slide-form").open_path(str(path))
    hand.until(lambda: hand.binding.slide_layer() is not None)
    models.setCurrentText("Colours, by chance")
    hand.click("model-load")
    hand.until(lambda: session.result is not None and session.result.complete)
    hand.close_sections("slide", "model", "overlays")

    hand.click("task-new")
    qtbot.keyClicks(hand.child("task-title"), "Eosinophils")
    hand.click("task-make")
    label(hand, is_kind)
    parent = session.model
    features = features_of(session, parent)
    before = old_answers(parent, features, parent.tasks)
    session.slide.read_square = lambda *_, **__: pytest.fail("a tile was read again")
    encoder = parent.encoder.embed
    parent.encoder.embed = lambda *_: pytest.fail("a tile was encoded again")

    hand.click("teach-advanced")
    hand.until(lambda: panel.findChild(type(hand.child("teach-options")), "teach-setting-form") is not None)
    hand.child("teach-setting-steps").setValue(STEPS)
    hand.click("teach-start")
    hand.until(lambda: hand.child("teach-curves").drawn >= 2 and teaching.view.phase is TeachingPhase.RUNNING)
    hand.until(lambda: shown_task(viewer) == "eosinophils")
    assert session.model is parent
    assert {task for task, _ in session.result.heatmaps} == {"dark", "pink", "eosinophils"}
    hand.click("teach-pause")
    hand.until(lambda: teaching.view.phase is TeachingPhase.PAUSED)
    hand.picture("paused")
    session.set_overlay(task="dark")  # the old tasks keep painting
    hand.until(lambda: shown_task(viewer) == "dark")
    session.set_overlay(task="eosinophils")
    hand.click("teach-pause")
    hand.until(lambda: teaching.view.phase is TeachingPhase.DONE)
    hand.until(lambda: hand.child("teach-guard-verdict").text().startswith("✔"))
    assert teaching.view.guard.after in hand.child("teach-guard-verdict").toolTip()
    hand.until(lambda: knows(session, is_kind))
    hand.picture("done")

    hand.click("taught-save")
    hand.until(lambda: teaching.view.phase is TeachingPhase.SAVED)
    saved = session.model
    parent.encoder.embed = encoder
    assert saved.card.name == "ignorant-eosinophils"
    hand.until(lambda: hand.child("model-list").currentText() == saved.card.title)
    assert (saved.card.folder / "proof.json").is_file()
    assert all(torch.equal(a, b) for a, b in zip(before, old_answers(saved, features, parent.tasks), strict=True))
    hand.until(lambda: session.result is not None and session.result.model_digest == saved.digest)
    viewer.theme = "light"
    hand.picture("saved-light")

    hand.click("taught-undo")
    hand.until(lambda: session.model is parent)
    hand.until(lambda: hand.child("model-list").currentText() == "Colours, by chance")
    assert session.tasks == parent.tasks
    hand.binding.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("mtlpath-teaching")] == []


def label(hand, is_kind):
    """Click tiles that are eosinophils and tiles that are not."""
    session, flat = hand.session, is_kind.ravel()
    hand.until(lambda: session.labels.place is not None)
    hand.click("label-tool-tiles")
    hand.until(lambda: hand.binding.label_layers.markers is not None)
    for answer, tiles in ((1, np.flatnonzero(flat)[:POSITIVES]), (0, np.flatnonzero(~flat)[:NEGATIVES])):
        hand.click(f"label-answer-{answer}")
        for index in tiles:
            hand.click_tile(index)
            hand.until(lambda index=index: int(index) in session.labels.labels.tiles)
    found = {index: given.value for index, given in session.labels.labels.tiles.items()}
    assert sum(found.values()) == POSITIVES
    assert len(found) == POSITIVES + NEGATIVES
    assert all(bool(flat[index]) == bool(value) for index, value in found.items())


def features_of(session, model):
    """The embeddings of the open slide, as the store holds them."""
    from napari_mtlpath.inference.plan import grid_for, key_for

    grid = grid_for(session.slide, model)
    return session.store.get(key_for(session.slide, model, grid))[1]


def shown_task(viewer):
    return next((layer.metadata["mtlpath_task"] for layer in viewer.layers if is_shown(layer)), None)


def is_shown(layer):
    return layer.visible and "mtlpath_task" in layer.metadata


def knows(session, is_kind):
    """Whether the new task's answers tile by tile tell the kinds apart, also where nothing was labelled."""
    heatmap = session.result.heatmaps.get(("eosinophils", "prediction")) if session.result is not None else None
    if heatmap is None:
        return False
    unlabelled = np.ones(is_kind.size, dtype=bool)
    unlabelled[list(session.labels.labels.tiles)] = False
    values, truth = heatmap.values.ravel()[unlabelled], is_kind.ravel()[unlabelled]
    return values[truth].min() > values[~truth].max()
