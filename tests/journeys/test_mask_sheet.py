"""The contact sheet of docs/segment-tiles.md: derived masks beside what the shipped model says."""

import os
from pathlib import Path

import pytest
from documented import IMAGES, difference, publish
from PIL import Image

from benchmarks.mask_sheet import sheet
from napari_mtlpath.simulation.cells import load_cells
from napari_mtlpath.zoo.pixel_load import list_pixel_models, load_pixel_model

MODEL = "cells-ctan"
NAMES = ("derived-masks.png",)


def test_the_sheet_shows_the_rule_and_the_model_as_they_are(real_data: Path) -> None:
    if MODEL not in {card.name for card in list_pixel_models()}:
        pytest.skip(f"There is no model {MODEL!r} among the models")
    cells = load_cells(real_data / "pbc_wbcatt_trainval_96.zip").validation()
    made = sheet(cells, load_pixel_model(MODEL, device="cpu"), per_type=4)
    if os.environ.get("MTLPATH_WRITE_PICTURES"):
        publish(made, IMAGES / NAMES[0])
    shown = Image.open(IMAGES / NAMES[0]).convert("RGB")
    assert difference(shown, made) < 20, f"{NAMES[0]} no longer shows the model: run make pictures"
