"""The picture of docs/find-rare-cells.md: the tiles that a model ranks highest on the demo's smear, by hand."""

import csv
import os

import numpy as np
import pytest
from documented import IMAGES, difference, publish
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox
from teaching_journey import Hand

from napari_mtlpath.evaluation.retrieval import retrieve
from napari_mtlpath.samples import SMEAR_MODEL, sample
from napari_mtlpath.simulation.smear_file import read_truth, truth_path
from napari_mtlpath.viewer.docks.gallery_section import PAGE
from napari_mtlpath.viewer.docks.thumbnails import Thumbnail
from napari_mtlpath.zoo.load import list_models

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.timeout(600)]

NAMES = ("gallery.png",)
ANALYSED = 150
"""Tiles to put in order; the rest is not waited for."""


def test_the_page_shows_how_rare_cells_are_looked_through(
    make_napari_viewer, qtbot, real_data, isolated_folders, tmp_path
) -> None:
    card = next((card for card in list_models() if card.name == SMEAR_MODEL), None)
    if card is None:
        pytest.skip(f"There is no model {SMEAR_MODEL!r} among the models")
    smear = sample("smear").path()  # with a store of its own: the picture shows what a part of the slide says
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 800)
    _, panel = viewer.window.add_plugin_dock_widget("napari-mtlpath", "Pathology panel")
    hand = Hand(viewer, panel, qtbot)
    session = hand.session
    hand.until(lambda: hand.child("model-list").count() > 0)
    hand.child("open-slide-form").open_path(str(smear))
    hand.until(lambda: hand.binding.slide_layer() is not None)
    hand.child("model-list").setCurrentText(card.title)
    hand.click("model-load")
    hand.until(lambda: session.report is not None and session.report.tiles_known >= ANALYSED)
    session.pause()
    hand.close_sections("slide", "model", "overlays", "tasks", "teach")
    session.set_overlay(visible=False)
    gallery = hand.child("gallery-form")
    hand.until(lambda: gallery.ranking is not None)
    order = hand.child("gallery-task")
    assert isinstance(order, QComboBox)
    assert order.currentData() == "basophils"
    viewer.reset_view()
    viewer.scene.camera.zoom *= 4
    hand.until(lambda: hand.child("ranked-tile-0").isVisible() and hand.child("ranked-tile-0").picture is not None)
    qtbot.mouseClick(hand.child("ranked-tile-0"), Qt.MouseButton.LeftButton)
    qtbot.keyClick(gallery, Qt.Key.Key_Right)
    assert gallery.marked == 1
    hand.until(lambda: all(hand.child(f"ranked-tile-{n}").picture is not None for n in range(PAGE)))
    grid = gallery.ranking.heatmap.grid
    y, x = grid.corner(int(gallery.ranking.indices[1]))
    middle = hand.binding.slide_layer().data_to_world((y + grid.side / 2, x + grid.side / 2))[-2:]
    assert np.allclose(viewer.scene.camera.center[-2:], middle)

    gallery.export_to(tmp_path / "found.csv")
    hand.until(lambda: (tmp_path / "found.png").is_file())
    with (tmp_path / "found.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    truth = read_truth(truth_path(smear)).is_witness
    known = np.isfinite(gallery.ranking.heatmap.values)
    found = retrieve(gallery.ranking.heatmap.values[known], truth[known], k=PAGE)
    hits = sum(truth[int(row["row"]), int(row["column"])] for row in rows[:PAGE])
    assert hits == found.hits
    assert found.enrichment > 2.0  # basophils come to the front
    qtbot.wait(500)
    hand.show("gallery-keys")
    hand.picture(tmp_path / NAMES[0])
    assert all(isinstance(hand.child(f"ranked-tile-{n}"), Thumbnail) for n in range(PAGE))
    hand.binding.close()
    taken = Image.open(tmp_path / NAMES[0]).convert("RGB")
    if os.environ.get("MTLPATH_WRITE_PICTURES"):
        publish(taken, IMAGES / NAMES[0])
    shown = Image.open(IMAGES / NAMES[0]).convert("RGB")
    assert difference(shown, taken) < 20, f"{NAMES[0]} no longer shows the program: run make pictures"
