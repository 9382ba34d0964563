"""A made-up cohort for tests: feature files, slide table and clinical table in which the labels can be found."""

import csv
from pathlib import Path

import numpy as np

from napari_mtlpath.features.h5 import write_features
from napari_mtlpath.training.config.train_config import BagsConfig, parse_config
from napari_mtlpath.units import Microns, TilePixels

LENGTH = 42
"""Of the embeddings of encoder colour-stats."""

TILE_UM = 112.0


def write_cohort(folder: Path, *, patients: int = 40, seed: int = 0, first: int = 0, unknown: int = 5) -> Path:
    """Write patients with one or two slides: a tumour shifts one feature, the score another, the grade a third.

    Every `unknown`-th patient has no label for the tumour.
    """
    random = np.random.default_rng(seed)
    slides, labels = [], []
    for number in range(first, first + patients):
        patient = f"p{number}"
        tumour, grade, score = number % 2, number % 3, random.uniform(10, 50)
        for part in range(1 + number % 2):
            features = random.normal(0, 1, (12, LENGTH)).astype(np.float32)
            features[:, 0] += 3 * tumour
            features[:, 1] += 0.1 * (score - 30)
            features[:, 2] += 3 * grade
            slides.append({"PATIENT": patient, "FILENAME": f"{patient}-{part}.svs"})
            write_slide(folder / "features" / f"{patient}-{part}.h5", features)
        text = "" if number % unknown == 0 else ("no", "yes")[tumour]
        labels.append({"PATIENT": patient, "tumour": text, "grade": "abc"[grade], "score": f"{score:.3f}"})
    write_table(folder / "slides.csv", slides)
    write_table(folder / "clinical.csv", labels)
    return folder


def write_slide(path: Path, features: np.ndarray) -> None:
    """Write the features of one slide, its tiles in a row."""
    corners = np.stack([np.zeros(len(features)), np.arange(float(len(features)))], axis=1) * TILE_UM
    write_features(path, features, corners, extractor="colour-stats", tile_um=Microns(TILE_UM), tile_px=TilePixels(224))


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    """Write rows as CSV."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


TASKS = [
    {"name": "tumour", "classes": ["no", "yes"]},
    {"name": "grade", "classes": ["a", "b", "c"]},
    {"name": "score", "kind": "regression", "low": 10.0, "high": 50.0},
]


def cohort_config(name: str = "from-tables", *, tables: dict[str, object] | None = None, **data: object) -> BagsConfig:
    """Return a config of the made-up cohort that trains in a second; `tables` are further tables."""
    given = {"source": "cohort", "slides": "slides.csv", "clinical": "clinical.csv", "features": "features"}
    config = parse_config(
        {
            "kind": "bags",
            "name": name,
            "encoder": "colour-stats",
            "data": given | {"tasks": TASKS} | data,
            "aggregator": {"name": "mean_pool"},
            "optimisation": {"epochs": 6, "batch": 4, "learning_rate": 0.05, "weight_decay": 0.0},
        }
        | (tables or {})
    )
    assert isinstance(config, BagsConfig)
    return config
