"""Slide-aware pre-training on slide files: tiles on tissue, sides by the table, patients kept together."""

from pathlib import Path

import numpy as np
import pytest
import torch
from slide_aware_world import TINY, tiny_tables
from synthetic import write_aperio_like

from napari_mtlpath.tables.cohort import Patient
from napari_mtlpath.training.config.slide_aware import SlideAwareConfig
from napari_mtlpath.training.config.train_config import parse_config
from napari_mtlpath.training.slide_aware.file_slides import held_apart
from napari_mtlpath.training.slide_aware.sources import slide_tiles
from napari_mtlpath.training.train import train

NAMES = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five slides, of which c and d are positive and of e nothing is known; the left half of each is stained."""
    folder = tmp_path_factory.mktemp("cohort")
    (folder / "slides").mkdir()
    for number, name in enumerate(NAMES):
        pixels = np.full((256, 512, 3), 245, np.uint8)
        random = np.random.default_rng(number)
        pixels[:, :256] = np.array([190, 110, 170]) + random.integers(-30, 30, (256, 256, 3))
        write_aperio_like(folder / "slides" / f"{name}.svs", pixels, mpp=0.5)
    rows = [f"{name},{name}.svs,{label}" for name, label in zip(NAMES, ("no", "no", "yes", "yes", ""), strict=True)]
    (folder / "slides.csv").write_text("PATIENT,FILENAME,blasts\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return folder


def config_of(**data: object) -> SlideAwareConfig:
    tables = tiny_tables(views={"crop": 0.75})
    tables["data"] = {
        "source": "slides",
        "slides": "slides.csv",
        "slide_files": "slides",
        "label": "blasts",
        "classes": ["no", "yes"],
        "tile_um": 16.0,
        "tile_px": 32,
        "selection_share": 0.5,
    } | data
    tables["encoder"] = {"options": TINY}
    config = parse_config(tables)
    assert isinstance(config, SlideAwareConfig)
    return config


def test_tiles_lie_on_tissue_and_sides_follow_the_table(cohort: Path):
    data = slide_tiles(config_of(), folders=(cohort,))
    placed = [*data.train.negative.pool.slides, *data.held_out.negative.pool.slides]
    assert {slide.name for slide in placed} == {"a.svs", "b.svs"}
    positive = [*data.train.positive.pool.slides, *data.held_out.positive.pool.slides]
    assert {slide.name for slide in positive} == {"c.svs", "d.svs"}
    for slide in (*placed, *positive):
        assert len(slide.indices) >= 64
        assert max(index % slide.grid.columns for index in slide.indices.tolist()) <= slide.grid.columns // 2


def test_pixels_are_those_of_the_slide_whatever_their_order(cohort: Path):
    tiles = slide_tiles(config_of(), folders=(cohort,)).train.negative
    rows = torch.tensor([5, 0, 5, 17])
    read = tiles.pool.read(rows)
    assert read.shape == (4, 32, 32, 3)
    assert torch.equal(read[0], read[2])
    assert all(torch.equal(tiles.pool.read(row[None])[0], one) for row, one in zip(rows, read, strict=True))


def test_most_tiles_of_a_slide_bounds_each_slide(cohort: Path):
    data = slide_tiles(config_of(tiles_per_slide=10), folders=(cohort,))
    assert len(data.train.negative.rows) == len(data.train.positive.rows) == 10


def test_a_training_on_slide_files_ends_in_an_encoder(cohort: Path, tmp_path: Path):
    config = config_of(tiles_per_slide=12)
    *_, last = train(config, output=tmp_path / "tiny", runs=tmp_path / "runs", data=(cohort,))
    assert last.output == tmp_path / "tiny"
    assert (tmp_path / "tiny" / "encoder.safetensors").is_file()


def test_one_patient_of_a_class_is_refused_with_what_to_do():
    patients = [Patient(name=n, files=(n,), labels=(float(n == "x"),)) for n in ("x", "y", "z")]
    with pytest.raises(ValueError, match=r"two patients with 'yes'.*found 1.*Add slides"):
        held_apart(patients, share=0.2, classes=("no", "yes"), seed=0)


def test_each_class_has_patients_on_both_sides_and_none_on_two():
    patients = [Patient(name=str(n), files=(str(n),), labels=(float(n % 2),)) for n in range(10)]
    parts = held_apart(patients, share=0.2, classes=("no", "yes"), seed=3)
    names = {part: {patient.name for patient in chosen} for part, chosen in parts.items()}
    assert names["train"].isdisjoint(names["selection"])
    assert names["train"] | names["selection"] == {str(n) for n in range(10)}
    for chosen in parts.values():
        assert {patient.labels[0] for patient in chosen} == {0.0, 1.0}
