"""The pictures in docs/ are what the program shows: made here, with `make pictures`."""

import os
import re
from pathlib import Path

import pytest
from documented import IMAGES, difference, publish
from PIL import Image
from test_gallery_pictures import NAMES as GALLERY_PICTURES
from test_label_pictures import NAMES as LABEL_PICTURES
from test_mask_sheet import NAMES as MASK_PICTURES
from test_segment_pictures import NAMES as SEGMENT_PICTURES
from test_teach_a_task import PUBLISHED as TEACHING_PICTURES
from test_teach_on_the_demo_smear import PUBLISHED as DEMO_PICTURES

from napari_mtlpath.session.overlay import OverlayKind
from napari_mtlpath.viewer.launch import Launch, photograph
from napari_mtlpath.zoo.load import list_models

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.timeout(600)]

MODEL = "tissue-mecds"
TASK = "nuclei"
PICTURES = {
    "window.png": "window.png",
    "slide.png": "slide.png",
    f"{TASK}-routing.png": "routing.png",
    f"{TASK}-attention.png": "attention.png",
    f"{TASK}-prediction.png": "prediction.png",
}
"""What the photographer calls a picture of the tissue slide, and what the pages call it."""

SMEAR_PICTURES = {"window.png": "smear.png"}
TILE_PICTURES = {"window.png": "pool-smear.png"}


def test_the_pages_show_what_the_program_shows(cmu_svs: Path, tmp_path: Path, qapp) -> None:
    launch = Launch(slide=cmu_svs, model=MODEL, device="cpu", task=TASK, kind=OverlayKind.PREDICTION)
    _compare(launch, PICTURES, tmp_path)


def test_the_pages_show_the_smear_as_the_program_does(demo_smear: Path, tmp_path: Path, qapp) -> None:
    _compare(Launch(slide=demo_smear, model="smear-mecds", device="cpu"), SMEAR_PICTURES, tmp_path)


def test_the_pages_show_a_model_of_tiles_as_the_program_does(demo_smear: Path, tmp_path: Path, qapp) -> None:
    _compare(
        Launch(slide=demo_smear, model="blood-pool-tiles", device="cpu", task="cell_type"), TILE_PICTURES, tmp_path
    )


def _compare(launch: Launch, pictures: dict[str, str], folder: Path) -> None:
    """Photograph the program and compare with the pages' pictures, or make those anew."""
    if launch.model not in {card.name for card in list_models()}:
        pytest.skip(f"There is no model {launch.model!r} among the models")
    taken = photograph(launch, folder=folder, patience=600)
    assert taken.predictions["complete"] or taken.predictions["tiles_known"] > 100
    new = {path.name: Image.open(path).convert("RGB") for path in taken.paths}
    assert set(pictures) <= set(new)
    if os.environ.get("MTLPATH_WRITE_PICTURES"):
        for name, published in pictures.items():
            publish(new[name], IMAGES / published)
    for name, published in pictures.items():
        shown = Image.open(IMAGES / published).convert("RGB")
        assert difference(shown, new[name]) < 20, f"{published} no longer shows the program: run make pictures"


def test_every_picture_on_a_page_is_made_here() -> None:
    pages = [*(IMAGES.parent).glob("*.md"), IMAGES.parents[1] / "README.md"]
    shown = {name for page in pages for name in re.findall(r"images/([\w.-]+)", page.read_text(encoding="utf-8"))}
    made = (PICTURES, SMEAR_PICTURES, TILE_PICTURES, TEACHING_PICTURES, DEMO_PICTURES)
    named = {*LABEL_PICTURES, *GALLERY_PICTURES, *SEGMENT_PICTURES, *MASK_PICTURES}
    assert shown == {name for pictures in made for name in pictures.values()} | named
