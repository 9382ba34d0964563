"""The pictures of docs/segment-tiles.md: a pixel model on the demo's smear, and on tissue that it was not made for."""

import os

import pytest
from documented import IMAGES, difference, publish
from PIL import Image
from teaching_journey import Hand

from napari_mtlpath.inference.results import Scope
from napari_mtlpath.tasks import Segmentation
from napari_mtlpath.viewer.layers.pixel_layer import PIXELS_KEY
from napari_mtlpath.zoo.pixel_load import list_pixel_models

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.timeout(600)]

MODEL = "cells-ctan"
NAMES = ("segment-smear.png", "segment-contours.png", "segment-tissue-light.png")
CELL_ZOOM = 7.0
"""From the whole slide to some ten cells on the screen."""


@pytest.fixture
def card():
    found = next((card for card in list_pixel_models() if card.name == MODEL), None)
    if found is None:
        pytest.skip(f"There is no model {MODEL!r} among the models")
    return found


def looking(hand, slide, card):
    """Open a slide and load the model by hand, and wait until all that is in view is answered."""
    session = hand.session
    hand.until(lambda: hand.child("model-list").count() > 0)
    hand.child("open-slide-form").open_path(str(slide))
    hand.until(lambda: hand.binding.slide_layer() is not None)
    hand.viewer.reset_view()
    hand.viewer.scene.camera.zoom *= CELL_ZOOM
    hand.child("model-list").setCurrentText(f"{card.title} (pixel by pixel)")
    hand.click("model-load")
    hand.until(lambda: session.report is not None and session.report.visible_total > 0)
    hand.until(lambda: session.report.visible_known >= session.report.visible_total)
    hand.until(lambda: session.result is not None and session.result.tiles_known >= session.report.visible_total)
    session.pause()
    hand.until(lambda: any(PIXELS_KEY in layer.metadata for layer in hand.viewer.layers))
    hand.close_sections("slide", "gallery", "tasks", "teach")


def compare(taken, name):
    if os.environ.get("MTLPATH_WRITE_PICTURES"):
        publish(taken, IMAGES / name)
    shown = Image.open(IMAGES / name).convert("RGB")
    assert difference(shown, taken) < 20, f"{name} no longer shows the program: run make pictures"


def window(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 800)
    _, panel = viewer.window.add_plugin_dock_widget("napari-mtlpath", "Pathology panel")
    return Hand(viewer, panel, qtbot)


def picture(hand, path):
    hand.qtbot.wait(500)
    hand.picture(path)
    return Image.open(path).convert("RGB")


def test_the_page_shows_a_pixel_model_on_a_smear(make_napari_viewer, qtbot, demo_smear, card, tmp_path) -> None:
    hand = window(make_napari_viewer, qtbot)
    looking(hand, demo_smear, card)
    result = hand.session.result
    assert {answer.scope for answer in result.tasks} <= {Scope.TILES, Scope.PIXELS}
    parts = next(answer for answer in result.tasks if isinstance(answer.task, Segmentation))
    assert sum(parts.class_values) == pytest.approx(1.0)
    compare(picture(hand, tmp_path / NAMES[0]), NAMES[0])

    hand.child("overlay-contours").click()
    hand.child("overlay-opacity").setValue(hand.child("overlay-opacity").maximum())
    hand.until(lambda: hand.session.overlay.contours and hand.session.overlay.opacity == 1.0)
    hand.viewer.scene.camera.zoom *= 2
    qtbot.wait(1000)
    compare(picture(hand, tmp_path / NAMES[1]), NAMES[1])
    assert "pixel by pixel" in hand.session.unteachable
    hand.binding.close()


def test_the_page_shows_tissue_that_the_model_was_not_made_for(
    make_napari_viewer, qtbot, cmu_svs, card, tmp_path
) -> None:
    hand = window(make_napari_viewer, qtbot)
    hand.viewer.theme = "light"
    looking(hand, cmu_svs, card)
    assert card.made_for.split(",")[0][1:] in hand.child("model-made-for").text()
    compare(picture(hand, tmp_path / NAMES[2]), NAMES[2])
    hand.binding.close()
