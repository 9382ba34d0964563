"""The picture of docs/label-tiles.md: a region, clicks and answered suggestions on the demo's smear, by hand."""

import os

import pytest
from documented import IMAGES, difference, publish
from PIL import Image
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QWidget
from teaching_journey import Hand, eosinophils

from napari_mtlpath.review.events import Origin
from napari_mtlpath.samples import SMEAR_MODEL
from napari_mtlpath.zoo.load import list_models

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.timeout(600)]

NAMES = ("label-tiles.png",)
ANALYSED = 120
"""Tiles to choose suggestions from; the rest is not waited for."""


class Pen(Hand):
    """A hand that also finds tiles on the screen and drags over them."""

    def at(self, row, column, *, down=0.5, right=0.5):
        """Return where a place inside a tile is on the canvas."""
        grid = self.session.labels.place.grid
        place = ((row + down) * grid.side - 0.5, (column + right) * grid.side - 0.5)
        y, x = self.binding.slide_layer().data_to_world(place)[-2:]
        camera = self.viewer.scene.camera
        (cy, cx), (height, width) = camera.center[-2:], self.viewer.canvas.size
        return QPoint(round((x - cx) * camera.zoom + width / 2), round((y - cy) * camera.zoom + height / 2))

    def drag(self, start, end):
        """Press at one place, move, and release at the other."""
        self.qtbot.mousePress(self.canvas, Qt.MouseButton.LeftButton, pos=start)
        for share in (0.3, 0.7, 1.0):
            self.qtbot.mouseMove(self.canvas, start + (end - start) * share)
            self.qtbot.wait(30)
        self.qtbot.mouseRelease(self.canvas, Qt.MouseButton.LeftButton, pos=end)


def test_the_page_shows_how_tiles_are_labelled(make_napari_viewer, qtbot, real_data, demo_smear, tmp_path) -> None:
    card = next((card for card in list_models() if card.name == SMEAR_MODEL), None)
    if card is None:
        pytest.skip(f"There is no model {SMEAR_MODEL!r} among the models")
    truth = eosinophils(real_data, demo_smear).ravel()
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 800)
    _, panel = viewer.window.add_plugin_dock_widget("napari-mtlpath", "Pathology panel")
    hand = Pen(viewer, panel, qtbot)
    session = hand.session
    hand.until(lambda: hand.child("model-list").count() > 0)
    hand.child("open-slide-form").open_path(str(demo_smear))
    hand.until(lambda: hand.binding.slide_layer() is not None)
    hand.child("model-list").setCurrentText(card.title)
    hand.click("model-load")
    hand.until(lambda: session.report is not None and session.report.tiles_known >= ANALYSED)
    session.pause()
    hand.close_sections("slide", "model", "overlays", "gallery", "teach")
    session.set_overlay(visible=False)
    viewer.reset_view()
    viewer.scene.camera.zoom *= 2
    hand.click("task-new")
    qtbot.keyClicks(hand.child("task-title"), "Eosinophils")
    hand.click("task-make")
    labels = session.labels
    rows, columns = labels.place.grid.shape

    hand.until(lambda: panel.findChild(QWidget, "label-answer-0") is not None)
    hand.click("label-answer-0")
    hand.click("label-tool-rectangle")
    hand.until(lambda: hand.binding.label_layers.regions is not None)
    top, left = rows // 2 - 5, columns // 2 - 4
    hand.drag(hand.at(top, left, down=0.2, right=0.2), hand.at(top + 1, left + 2, down=0.8, right=0.8))
    hand.until(lambda: len(labels.labels.tiles) == 6)
    assert {divmod(i, columns) for i in labels.labels.tiles} == {(top + r, left + c) for r in (0, 1) for c in (0, 1, 2)}
    hand.click("label-tool-tiles")
    clicked = [row * columns + column for row in range(rows // 2, rows // 2 + 3) for column in range(left, left + 4)]
    for index in clicked:
        hand.click(f"label-answer-{int(truth[index])}")
        hand.click_tile(index)
        hand.until(lambda index=index: index in labels.labels.tiles)

    gallery = hand.child("label-gallery")
    hand.click("gallery-suggest")
    hand.until(lambda: len(gallery.indices) > 8)
    for index in gallery.indices[:8]:
        qtbot.keyClick(gallery, Qt.Key.Key_2 if truth[index] else Qt.Key.Key_1)
        assert labels.labels.tiles[index].value == float(truth[index])
    hand.until(lambda: "gallery" in hand.child("label-count").text())
    counts = {origin: values.total() for origin, values in labels.counts().per_origin.items()}
    assert counts == {Origin.REGION: 6, Origin.TILE: 12, Origin.GALLERY: 8}
    qtbot.wait(500)
    hand.show("label-exchange")
    hand.picture(tmp_path / NAMES[0])
    assert labels.lessons()[0].counts().origins["gallery"] == 8  # what is suggested has been analysed
    hand.binding.close()
    taken = Image.open(tmp_path / NAMES[0]).convert("RGB")
    if os.environ.get("MTLPATH_WRITE_PICTURES"):
        publish(taken, IMAGES / NAMES[0])
    shown = Image.open(IMAGES / NAMES[0]).convert("RGB")
    assert difference(shown, taken) < 20, f"{NAMES[0]} no longer shows the program: run make pictures"
