"""napari started on a slide, waited for and photographed, as `mtlpath demo` does without a display."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageChops
from synthetic import tissue, write_aperio_like

from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.nn.aggregators.mecds import MECDS
from napari_mtlpath.tasks import Classification
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import Microns, TilePixels
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.save import save_model

pytestmark = [pytest.mark.gui, pytest.mark.timeout(600)]

TASKS = (Classification(name="witness"),)
OPTIONS = {"width": 16, "heads": 2, "blocks": 1}

# A process of its own: napari's test fixtures leave the plugin's commands registered in this one.
CHILD = """
import json, sys, threading
from pathlib import Path
from napari_mtlpath.viewer.launch import Launch, photograph

asked = json.loads(sys.argv[1])
launch = Launch(slide=Path(asked["slide"]), model=asked["model"], device="cpu")
try:
    taken = photograph(launch, folder=Path(asked["folder"]), patience=asked["patience"])
except RuntimeError as error:
    said = {"error": str(error)}
else:
    threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("mtlpath")]
    said = {"paths": [str(path) for path in taken.paths], "predictions": taken.predictions, "threads": threads}
print(json.dumps(said))
"""


def photographed(slide: Path, model: str, *, folder: Path, patience: float) -> dict[str, Any]:
    asked = json.dumps({"slide": str(slide), "model": model, "folder": str(folder), "patience": patience})
    ran = subprocess.run([sys.executable, "-c", CHILD, asked], capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with the small MECDS model `small`."""
    encoder = load_encoder("colour-stats")
    card = ModelCard(
        name="small",
        tasks=TASKS,
        encoder=encoder.name,
        encoder_sha256=encoder.digest,
        tile=TileSpec(tile_um=Microns(112.0), tile_px=TilePixels(224)),
        aggregator="mecds",
        options=OPTIONS,
        licence="BSD-3-Clause",
    )
    network = MECDS.build(tasks=TASKS, features=42, options=OPTIONS, generator=torch.Generator().manual_seed(0))
    save_model(tmp_path / "slide-models" / "small", card, network.state_dict())
    monkeypatch.setenv("MTLPATH_MODELS", str(tmp_path))
    return tmp_path


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return write_aperio_like(tmp_path / "slide.svs", tissue(1200, 1500), mpp=0.5)


def test_photographs_show_the_analysed_field(models: Path, slide: Path, tmp_path: Path) -> None:
    taken = photographed(slide, "small", folder=tmp_path / "out", patience=280)

    paths = [Path(path) for path in taken["paths"]]
    assert paths[0].name == "window.png"
    assert {"witness-routing.png", "witness-prediction.png", "slide.png"} <= {path.name for path in paths}
    assert taken["predictions"]["tiles_known"] > 0
    assert taken["predictions"]["use"] == "Research use only"
    pictures = {path.name: Image.open(path).convert("RGB") for path in paths}
    difference = ImageChops.difference(pictures["slide.png"], pictures["witness-routing.png"])
    assert difference.getbbox() is not None  # the heatmap is on it
    assert taken["threads"] == []


def test_a_model_that_is_not_there_is_one_sentence(models: Path, slide: Path, tmp_path: Path) -> None:
    assert "'smal'" in photographed(slide, "smal", folder=tmp_path / "out", patience=60)["error"]


def test_a_slide_without_resolution_is_not_waited_for(models: Path, tmp_path: Path) -> None:
    unknown = write_aperio_like(tmp_path / "unknown.svs", tissue(600, 600), mpp=None)
    assert "--mpp" in photographed(unknown, "small", folder=tmp_path / "out", patience=60)["error"]
