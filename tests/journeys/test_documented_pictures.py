"""The pictures in docs/ are what the program shows: made here, with `make pictures`."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_mtlpath.session.overlay import OverlayKind
from napari_mtlpath.viewer.launch import Launch, photograph
from napari_mtlpath.zoo.load import list_models

pytestmark = [pytest.mark.gui, pytest.mark.slow]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
MODEL = "tissue-mecds"
TASK = "nuclei"
PICTURES = {
    "window.png": "window.png",
    "slide.png": "slide.png",
    f"{TASK}-routing.png": "routing.png",
    f"{TASK}-attention.png": "attention.png",
    f"{TASK}-prediction.png": "prediction.png",
}
"""What the photographer calls a picture, and what the pages call it."""


def test_the_pages_show_what_the_program_shows(cmu_svs: Path, tmp_path: Path, qapp) -> None:
    if MODEL not in {card.name for card in list_models()}:
        pytest.skip(f"There is no model {MODEL!r} among the models")
    taken = photograph(
        Launch(slide=cmu_svs, model=MODEL, device="cpu", task=TASK, kind=OverlayKind.PREDICTION),
        folder=tmp_path,
        patience=280,
    )

    assert taken.predictions["complete"] or taken.predictions["tiles_known"] > 100
    new = {path.name: Image.open(path).convert("RGB") for path in taken.paths}
    assert set(PICTURES) <= set(new)
    if os.environ.get("MTLPATH_WRITE_PICTURES"):
        for name, published in PICTURES.items():
            # 256 colours: a fifth of the size, and nobody sees the difference.
            new[name].quantize(256, method=Image.Quantize.MEDIANCUT).save(IMAGES / published, optimize=True)
    for name, published in PICTURES.items():
        shown = Image.open(IMAGES / published).convert("RGB")
        assert _distance(shown, new[name]) < 20, f"{published} no longer shows the program: run make pictures"


def test_every_picture_on_a_page_is_made_here() -> None:
    pages = [*(IMAGES.parent).glob("*.md"), IMAGES.parents[1] / "README.md"]
    shown = {name for page in pages for name in re.findall(r"images/([\w.-]+)", page.read_text(encoding="utf-8"))}
    assert shown == set(PICTURES.values())


def _distance(first: Image.Image, second: Image.Image) -> float:
    """Return the mean difference of two pictures, brought to 64 x 48 so that fonts and drivers make none."""
    small = [np.asarray(picture.resize((64, 48), Image.Resampling.BOX), np.float64) for picture in (first, second)]
    return float(np.abs(small[0] - small[1]).mean())
