"""Teaching on the demo smear: a cell type that no task asks for, from 60 clicked tiles to a saved model."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from documented import IMAGES, difference, publish
from PIL import Image
from sklearn.metrics import roc_auc_score
from teaching_journey import Hand, eosinophils, label_by_clicks

from napari_mtlpath.samples import CELLS_FILE
from napari_mtlpath.session.teaching_view import TeachingPhase
from napari_mtlpath.simulation.cells import load_cells
from napari_mtlpath.simulation.smear import Composer, SmearSpec
from napari_mtlpath.simulation.smear_file import read_truth, truth_path, write_smear

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.timeout(600)]

PICTURES = Path(__file__).parents[2] / "build" / "journeys"
PUBLISHED = {"smear-learning.png": "teach-smear.png", "smear-saved-light.png": "teach-smear-light.png"}
"""What this journey calls a picture, and what docs/teach-a-task.md calls it."""

KIND = "Eosinophil"
POSITIVES, NEGATIVES = 15, 45
LEAST_AUC = 0.90


def test_sixty_clicks_teach_eosinophils_well_enough_for_an_unseen_slide(
    make_napari_viewer, qtbot, real_data, demo_smear, tmp_path
):
    is_kind = eosinophils(real_data, demo_smear)
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 800)
    _, panel = viewer.window.add_plugin_dock_widget("napari-mtlpath", "Pathology panel")
    hand = Hand(viewer, panel, qtbot)
    session, teaching = hand.session, hand.session.teaching

    hand.until(lambda: hand.child("model-list").count() > 0)
    hand.child("open-slide-form").open_path(str(demo_smear))
    hand.until(lambda: hand.binding.slide_layer() is not None)
    hand.child("model-list").setCurrentText("Basophils, neutrophils and vacuoles on simulated smears (MECDS)")
    hand.click("model-load")
    hand.until(lambda: session.result is not None and session.result.complete)
    parent = session.model
    assert "eosinophils" not in {task.name for task in parent.tasks}
    hand.close_sections("slide", "model", "overlays", "gallery")
    hand.click("task-new")
    qtbot.keyClicks(hand.child("task-title"), "Eosinophils")
    hand.click("task-make")
    label_by_clicks(hand, is_kind, positives=POSITIVES, negatives=NEGATIVES)

    started = time.perf_counter()
    hand.click("teach-start")
    hand.until(lambda: teaching.view.report is not None and teaching.view.report.step >= 60)
    hand.until(lambda: ("eosinophils", "prediction") in session.result.heatmaps)
    hand.show("teach-curves")
    hand.picture(PICTURES / "smear-learning.png")
    hand.until(lambda: teaching.view.phase is TeachingPhase.DONE)
    seconds = time.perf_counter() - started
    hand.until(lambda: hand.child("teach-guard-verdict").text().startswith("✔"))
    hand.click("taught-save")
    hand.until(lambda: teaching.view.phase is TeachingPhase.SAVED)
    saved = session.model
    hand.until(lambda: session.result is not None and session.result.model_digest == saved.digest)
    viewer.theme = "light"
    hand.picture(PICTURES / "smear-saved-light.png")

    unseen, truth = write_unseen_smear(real_data, demo_smear, tmp_path / "simulated-unseen.tiff")
    hand.child("open-slide-form").open_path(str(unseen))
    hand.until(
        lambda: (
            session.slide is not None
            and session.slide.path == unseen
            and session.result is not None
            and session.result.complete
        )
    )
    said = session.result.heatmaps[("eosinophils", "prediction")].values
    auc = roc_auc_score(truth.ravel(), said.ravel())
    print(f"AUC on {truth.size} tiles of an unseen smear: {auc:.4f} (trivial: 0.5); taught in {seconds:.0f} s")
    assert auc >= LEAST_AUC
    hand.binding.close()
    compare_pictures()


def write_unseen_smear(data: Path, seen: Path, path: Path) -> tuple[Path, np.ndarray]:
    """Write a smear of validation cells and return which cell is an eosinophil; none of these is on the seen smear.

    Cells of other types may be on both: the seen smear has nearly all that there are.
    """
    cells = load_cells(data / CELLS_FILE).validation()
    fresh = np.ones(len(cells), dtype=bool)
    fresh[np.unique(read_truth(truth_path(seen)).cells)] = False
    others = cells.subset(fresh | ~cells.is_class("cell_type", KIND))
    spec = SmearSpec(rows=12, columns=12, witness=KIND, witness_rate=0.15, seed=7)
    smear = Composer(others, witness=KIND).compose(spec)
    return write_smear(path, others, smear), others.is_class("cell_type", KIND)[smear.cells]


def compare_pictures() -> None:
    """Compare the pictures with the page's, or make those anew."""
    for name, published in PUBLISHED.items():
        taken = Image.open(PICTURES / name).convert("RGB")
        if os.environ.get("MTLPATH_WRITE_PICTURES"):
            publish(taken, IMAGES / published)
        shown = Image.open(IMAGES / published).convert("RGB")
        assert difference(shown, taken) < 20, f"{published} no longer shows the program: run make pictures"
