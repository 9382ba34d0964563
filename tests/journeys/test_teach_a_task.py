"""The second journey: a task that the model does not know is labelled, taught, watched, proved, saved and undone."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from documented import IMAGES, difference, publish
from PIL import Image
from taught_world import tiny_encoder
from teaching_journey import TILE_PX, Hand, label_by_clicks, write_cell_smear, write_ignorant_model

from napari_mtlpath.folders import data_folder
from napari_mtlpath.session.teaching_view import TeachingPhase

pytestmark = [pytest.mark.timeout(600)]

PICTURES = Path(__file__).parents[2] / "build" / "journeys"
PUBLISHED = {"teach-paused.png": "teach-labels.png"}
"""What this journey calls a picture, and what docs/teach-a-task.md calls it."""

STEPS = 60
POSITIVES, NEGATIVES = 8, 10


@pytest.fixture
def smear(tmp_path):
    return write_cell_smear(tmp_path / "simulated-smear.tiff")


@pytest.fixture
def model_name(isolated_folders):
    return write_ignorant_model(data_folder() / "models")


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
    hand.close_sections("slide", "model", "overlays", "gallery")

    hand.click("task-new")
    qtbot.keyClicks(hand.child("task-title"), "Eosinophils")
    hand.click("task-make")
    label_by_clicks(hand, is_kind, positives=POSITIVES, negatives=NEGATIVES)
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
    hand.picture(PICTURES / "teach-paused.png")
    session.set_overlay(task="dark")  # the old tasks keep painting
    hand.until(lambda: shown_task(viewer) == "dark")
    session.set_overlay(task="eosinophils")
    hand.click("teach-pause")
    hand.until(lambda: teaching.view.phase is TeachingPhase.DONE)
    hand.until(lambda: hand.child("teach-guard-verdict").text().startswith("✔"))
    assert teaching.view.guard.after in hand.child("teach-guard-verdict").toolTip()
    hand.until(lambda: knows(session, is_kind))
    hand.picture(PICTURES / "teach-done.png")

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
    hand.picture(PICTURES / "teach-saved-light.png")

    hand.click("taught-undo")
    hand.until(lambda: session.model is parent)
    hand.until(lambda: hand.child("model-list").currentText() == "Colours, by chance")
    assert session.tasks == parent.tasks
    hand.binding.close()
    compare_pictures()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("mtlpath-teaching")] == []


@pytest.mark.gui
def test_the_encoder_learns_too_every_task_changes_and_one_click_takes_it_back(
    make_napari_viewer, qtbot, smear, isolated_folders
):
    path, is_kind = smear
    write_ignorant_model(data_folder() / "models", own=tiny_encoder(TILE_PX))
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 800)
    _, panel = viewer.window.add_plugin_dock_widget("napari-mtlpath", "Pathology panel")
    hand = Hand(viewer, panel, qtbot)
    session, teaching = hand.session, hand.session.teaching
    hand.until(lambda: hand.child("model-list").count() > 0)
    hand.child("open-slide-form").open_path(str(path))
    hand.until(lambda: hand.binding.slide_layer() is not None)
    hand.child("model-list").setCurrentText("Colours, by chance")
    hand.click("model-load")
    hand.until(lambda: session.result is not None and session.result.complete)
    hand.close_sections("slide", "model", "overlays", "gallery")
    hand.click("task-new")
    qtbot.keyClicks(hand.child("task-title"), "Eosinophils")
    hand.click("task-make")
    label_by_clicks(hand, is_kind, positives=4, negatives=6)
    parent = session.model
    hand.click("teach-advanced")
    hand.until(lambda: panel.findChild(type(hand.child("teach-options")), "teach-setting-form") is not None)
    assert not hand.child("teach-setting-encoder_blocks").isVisible()
    hand.child("teach-setting-mode").setCurrentText("shared")
    hand.until(hand.child("teach-setting-encoder_blocks").isVisible)
    hand.child("teach-setting-encoder_blocks").setValue(2)
    for setting, value in (("steps", 4), ("refresh_every", 2), ("batch", 1), ("encoder_learning_rate", 1e-3)):
        hand.child(f"teach-setting-{setting}").setValue(value)
    assert "every task's answers change on every slide" in hand.child("teach-hint").text()

    def teach():
        hand.click("teach-start")
        hand.until(lambda: teaching.view.phase in (TeachingPhase.DONE, TeachingPhase.FAILED))
        assert teaching.view.phase is TeachingPhase.DONE, teaching.view.problem
        hand.until(lambda: hand.child("teach-guard-table").isVisible())
        assert "every task answers anew" in hand.child("teach-guard-verdict").text()
        assert [hand.child(f"teach-delta-{row}-0").text() for row in (1, 2)] == ["Dark cells", "Pink share"]
        assert session.tasks == parent.tasks  # nothing is painted that was not computed with its own encoder

    teach()
    hand.show("taught-save")
    hand.picture(PICTURES / "teach-encoder.png")
    hand.click("taught-discard")
    hand.until(lambda: not hand.child("teach-guard").isVisible())
    assert session.model is parent

    teach()
    hand.click("taught-save")
    hand.until(lambda: teaching.view.phase is TeachingPhase.SAVED)
    saved = session.model
    assert saved.encoder.digest != parent.encoder.digest
    assert (saved.card.folder / "tile-encoders" / saved.card.encoder).is_dir()
    hand.until(lambda: session.result is not None and session.result.model_digest == saved.digest)
    hand.until(lambda: session.result.complete)
    session.set_overlay(task="eosinophils")
    hand.until(lambda: shown_task(viewer) == "eosinophils")
    hand.click("taught-undo")
    hand.until(lambda: session.model is parent)
    hand.binding.close()


def compare_pictures():
    """Compare the pictures with the page's, or make those anew."""
    for name, published in PUBLISHED.items():
        taken = Image.open(PICTURES / name).convert("RGB")
        if os.environ.get("MTLPATH_WRITE_PICTURES"):
            publish(taken, IMAGES / published)
        shown = Image.open(IMAGES / published).convert("RGB")
        assert difference(shown, taken) < 20, f"{published} no longer shows the program: run make pictures"


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
