"""Simulated cohorts: the same settings give the same files, labels follow from cells, any training reads them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from made_cells import SIDE, made_cells

from napari_mtlpath.encoders.families.colour_stats import ColourStatistics
from napari_mtlpath.features.h5 import read_features
from napari_mtlpath.tables.read import read_cohort
from napari_mtlpath.tables.split_file import read_split
from napari_mtlpath.training.cohorts.simulated_cohort import (
    CohortSettings,
    read_truth,
    simulated_patients,
    task_tables,
    write_simulated_cohort,
)
from napari_mtlpath.training.config.data import CohortBags, SmearBags
from napari_mtlpath.training.smears.cell_features import cell_features
from napari_mtlpath.training.smears.smear_bags import SMEAR_TASKS, SmearBagSource
from napari_mtlpath.training.sources import cohort_sources

SMALL = CohortSettings(
    train=12, selection=6, test=6, rows=6, columns=6, witness_rates=(0.1, 0.1), unknown=0.3, slides=(1, 3)
)


@pytest.fixture(scope="module")
def encoder() -> ColourStatistics:
    return ColourStatistics.build(name="tiny", options={"tile_px": SIDE}, state=None)


@pytest.fixture(scope="module")
def source(encoder: ColourStatistics, tmp_path_factory: pytest.TempPathFactory) -> SmearBagSource:
    cells = made_cells(400)
    features = cell_features(encoder, cells, folder=tmp_path_factory.mktemp("features"))
    return SmearBagSource(SmearBags(source="smears"), cells, features, encoder)


@pytest.fixture(scope="module")
def cohort(source: SmearBagSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    assert len(list(write_simulated_cohort(folder, source, SMALL))) == 24
    return folder


def test_tables_are_those_of_any_cohort(cohort: Path, encoder: ColourStatistics):
    table = CohortBags(
        source="cohort",
        slides="slides.csv",
        clinical="clinical.csv",
        features="features",
        split="split.json",
        tasks=task_tables(),
    )
    (made,) = cohort_sources(table, encoder, folders=(cohort,), seed=0)
    assert made.tasks == SMEAR_TASKS
    assert len(made.parts["test"]) == 6
    assert not made.parts["test"].labels.isnan().any()
    assert len(made.parts["train"][0].features) in {36, 72, 108}


def test_labels_are_those_of_the_tiles_truth(cohort: Path):
    read = read_cohort(cohort / "slides.csv", cohort / "clinical.csv", tasks=SMEAR_TASKS)
    known = 0
    for patient in read.patients:
        for task, label in zip(SMEAR_TASKS, patient.labels, strict=True):
            truth = read_truth(cohort, patient.files, task.name)
            expected = float(truth.any()) if task.kind == "classification" else float(truth.mean())
            if not np.isnan(label):
                known += 1
                assert label == pytest.approx(expected, abs=1e-6)
    assert known < 24 * 3


def test_every_other_patient_has_witnesses_on_one_slide_at_the_rate_asked_for(cohort: Path):
    read = read_cohort(cohort / "slides.csv", cohort / "clinical.csv", tasks=SMEAR_TASKS)
    counts = [[int(read_truth(cohort, [file], "basophils").sum()) for file in p.files] for p in read.patients]
    assert all(sorted(each)[:-1] == [0] * (len(each) - 1) for each in counts)
    assert [max(each) for each in counts] == [0, 4] * 12  # round(0.1 * 36)
    rates = json.loads((cohort / "simulation.json").read_text())["witness_rates"]
    assert sorted(set(rates.values())) == pytest.approx([0.0, 0.1])


def test_no_cell_is_on_two_sides(cohort: Path):
    split = read_split(cohort / "split.json")
    read = read_cohort(cohort / "slides.csv", cohort / "clinical.csv", tasks=SMEAR_TASKS)
    rows: list[set[bytes]] = []
    for side in (split.train, split.selection, split.test):
        files = [file for patient in read.patients if patient.name in side for file in patient.files]
        tiles = np.concatenate([read_features(cohort / "features" / f"{Path(f).stem}.h5").features for f in files])
        rows.append({tile.tobytes() for tile in tiles})
    assert not rows[0] & rows[2]
    assert not rows[0] & rows[1]


def test_the_same_settings_give_the_same_cohort_and_another_seed_another(source: SmearBagSource):
    def tiles(settings: CohortSettings) -> list[torch.Tensor]:
        return [torch.cat([bag.features for bag in patient.bags]) for patient in simulated_patients(source, settings)]

    few = {"train": 2, "selection": 2, "test": 2, "rows": 4, "columns": 4, "witness_rates": (0.1, 0.2)}
    first, again, other = (tiles(CohortSettings(**few, seed=seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_test_rates_take_turns(source: SmearBagSource):
    settings = CohortSettings(train=2, selection=2, test=8, rows=6, columns=6, test_rates=(0.2, 0.05))
    rates = [patient.rate for patient in simulated_patients(source, settings) if patient.side == "test"]
    assert rates == [0.0, 0.2, 0.0, 0.05, 0.0, 0.2, 0.0, 0.05]


@pytest.mark.parametrize("wrong", [{"train": 1}, {"slides": (0, 1)}, {"unknown": 1.0}])
def test_impossible_settings_are_refused(wrong: dict[str, object]):
    with pytest.raises(ValueError, match=r"found"):
        CohortSettings(**wrong)
