"""Training on feature files: labels from a table, unknown ones left out, patients on one side of the split."""

import csv
from pathlib import Path

import numpy as np
import pytest

from napari_mtlpath.encoders.families.colour_stats import ColourStatistics
from napari_mtlpath.features.h5 import write_features
from napari_mtlpath.training.config import BagsConfig, parse_config
from napari_mtlpath.training.feature_bags import FeatureBagSource
from napari_mtlpath.training.train import train
from napari_mtlpath.units import Microns, TilePixels
from napari_mtlpath.zoo.card import read_model_card

LENGTH = 42


def config(**data: object) -> BagsConfig:
    tasks = [{"name": "tumour"}, {"name": "score", "kind": "regression", "high": 2.0}]
    given = {"source": "features", "labels": "labels.csv", "folder": "features", "tile_um": 112.0, "tasks": tasks}
    parsed = parse_config(
        {
            "kind": "bags",
            "name": "from-files",
            "encoder": "colour-stats",
            "data": given | data,
            "aggregator": {"name": "mean_pool"},
            "optimisation": {"epochs": 8, "batch": 4, "learning_rate": 0.05, "weight_decay": 0.0},
        }
    )
    assert isinstance(parsed, BagsConfig)
    return parsed


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 slides of 20 patients: a tumour shifts one feature, the score another; every fifth label is unknown."""
    folder = tmp_path_factory.mktemp("cohort")
    random = np.random.default_rng(0)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["PATIENT", "FILENAME", "tumour", "score"])
        writer.writeheader()
        for number in range(60):
            features = random.normal(0, 1, (12, LENGTH)).astype(np.float32)
            score = random.uniform(0, 2)
            features[:, 0] += 3 * (number % 2)
            features[:, 1] += score
            write_features(
                folder / "features" / f"slide-{number}.h5",
                features,
                np.stack([np.arange(12.0), np.zeros(12)], axis=1) * 112,
                extractor="colour-stats",
                tile_um=Microns(112.0),
                tile_px=TilePixels(224),
            )
            tumour = "" if number % 5 == 0 else ("absent", "present")[number % 2]
            row = {
                "PATIENT": f"p{number // 3}",
                "FILENAME": f"slide-{number}.svs",
                "tumour": tumour,
                "score": f"{score:.3f}",
            }
            writer.writerow(row)
    return folder


def source(cohort: Path, settings: BagsConfig) -> FeatureBagSource:
    encoder = ColourStatistics.build(name="colour-stats", options={"tile_px": 224}, state=None)
    return FeatureBagSource(
        settings.data, encoder, labels=cohort / "labels.csv", folder=cohort / "features", seed=settings.seed
    )


def test_every_slide_is_on_exactly_one_side(cohort: Path):
    parts = source(cohort, config()).parts
    seen = [bag.features.numpy().tobytes() for part in parts.values() for bag in part]
    assert len(seen) == len(set(seen)) == 60
    assert all(parts.values())


def test_empty_cells_are_unknown(cohort: Path):
    bags = [bag for part in source(cohort, config()).parts.values() for bag in part]
    assert sum(bool(bag.labels[0].isnan()) for bag in bags) == 12
    assert not any(bool(bag.labels[1].isnan()) for bag in bags)


def test_training_on_files_writes_a_model_that_beats_its_floor(cohort: Path, tmp_path: Path):
    settings = config()
    *_, last = train(settings, output=tmp_path / "from-files", runs=tmp_path / "runs", data=(cohort,))
    assert last.output is not None
    metrics = read_model_card(last.output).metrics
    assert metrics["tumour"]["auc"] > 0.9
    assert metrics["score"]["mean_absolute_error"] < metrics["score"]["mean_absolute_error_floor"]


def test_label_outside_its_classes_names_slide_and_label(cohort: Path):
    with pytest.raises(ValueError, match=r"classes no, yes; slide 'slide-\d+' says '(absent|present)'"):
        source(cohort, config(tasks=[{"name": "tumour", "classes": ["no", "yes"]}]))


def test_features_of_another_encoder_are_refused(cohort: Path, tmp_path: Path):
    other = ColourStatistics.build(name="other", options={"tile_px": 224}, state=None)
    other.features = 7
    settings = config()
    with pytest.raises(ValueError, match=r"embeddings of length 42; encoder 'other' gives 7"):
        FeatureBagSource(settings.data, other, labels=cohort / "labels.csv", folder=cohort / "features", seed=0)
