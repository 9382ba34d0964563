"""Training from cohort tables: patients on one side, slides together, labels partial, files read when needed."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from made_cohort import LENGTH, TILE_UM, cohort_config, write_cohort, write_slide, write_table

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.encoders.families.colour_stats import ColourStatistics
from napari_mtlpath.evaluation.prediction_files import read_predictions
from napari_mtlpath.folders import patients_folder
from napari_mtlpath.tables.problems import TableError
from napari_mtlpath.training.bags.bags_job import BagsJob
from napari_mtlpath.training.cohorts.cohort_bags import CohortBagSource
from napari_mtlpath.training.cohorts.feature_files import FeatureFiles
from napari_mtlpath.training.config.train_config import BagsConfig
from napari_mtlpath.training.measure import measure
from napari_mtlpath.training.sources import cohort_sources
from napari_mtlpath.training.train import train
from napari_mtlpath.zoo.card import read_model_card


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"))


def encoder() -> Encoder:
    return ColourStatistics.build(name="colour-stats", options={"tile_px": 224}, state=None)


def sources(cohort: Path, config: BagsConfig) -> tuple[CohortBagSource, ...]:
    return cohort_sources(config.data, encoder(), folders=(cohort,), seed=config.seed)


def test_every_patient_is_on_exactly_one_side(cohort: Path):
    (source,) = sources(cohort, cohort_config())
    sides = {name: {sample.patient for sample in bags.samples} for name, bags in source.parts.items()}
    assert sum(len(patients) for patients in sides.values()) == 40
    assert set.union(*sides.values()) == {f"p{number}" for number in range(40)}


def test_slides_of_a_patient_form_one_bag_or_one_each(cohort: Path):
    (together,) = sources(cohort, cohort_config())
    (apart,) = sources(cohort, cohort_config(unit="slide"))
    sizes = {bag.name: len(bag.features) for part in together.parts.values() for bag in part}
    assert (sizes["p0"], sizes["p1"]) == (12, 24)
    assert sum(len(part) for part in apart.parts.values()) == 60
    labels = {
        sample.name: sample.labels for part in apart.parts.values() for sample in part.samples if sample.patient == "p1"
    }
    assert set(labels) == {"p1-0.svs", "p1-1.svs"}
    assert len(set(labels.values())) == 1


def test_coordinates_of_two_slides_do_not_overlap(cohort: Path):
    (source,) = sources(cohort, cohort_config())
    bag = next(bag for part in source.parts.values() for bag in part if bag.name == "p1")
    assert bag.coordinates is not None
    assert len(np.unique(bag.coordinates.numpy(), axis=0)) == 24
    assert bag.coordinates[:12, 0].max() < bag.coordinates[12:, 0].min()
    assert bag.coordinates[0].tolist() == [0.0, TILE_UM / 2]


def test_empty_cells_are_unknown_and_the_rest_is_learned_from(cohort: Path):
    (source,) = sources(cohort, cohort_config())
    labels = torch.cat([part.labels for part in source.parts.values()])
    assert labels.isnan().sum(0).tolist() == [8, 0, 0]


def test_patients_without_any_label_are_left_out(cohort: Path, tmp_path: Path):
    rows = [{"PATIENT": f"p{n}", "tumour": "" if n < 4 else ("no", "yes")[n % 2]} for n in range(40)]
    write_table(tmp_path / "labels.csv", rows)
    config = cohort_config(clinical=str(tmp_path / "labels.csv"), tasks=[{"name": "tumour", "classes": ["no", "yes"]}])
    (source,) = sources(cohort, config)
    assert sum(len(part) for part in source.parts.values()) == 36


def test_statistics_are_those_of_all_training_tiles(cohort: Path):
    (source,) = sources(cohort, cohort_config())
    tiles = torch.cat([bag.features for bag in source.parts["train"]])
    mean, spread = source.statistics()
    torch.testing.assert_close(mean, tiles.mean(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(spread, tiles.std(0, unbiased=False), atol=1e-5, rtol=1e-5)


def test_memory_for_features_is_bounded_and_files_are_kept_up_to_it(tmp_path: Path):
    for number in range(4):
        write_slide(tmp_path / f"{number}.h5", np.full((10, 8), number, dtype=np.float32))
    one = 10 * (8 + 2) * 4
    files = FeatureFiles(tmp_path, features=8, most_bytes=2 * one)
    for name in "0123":
        assert float(files.read([name]).features[0, 0]) == float(name)
        assert files.kept_bytes <= 2 * one
    kept = files.read(["3"]).features
    assert files.read(["3"]).features is kept
    small = FeatureFiles(tmp_path, features=8, most_bytes=one - 1)
    assert len(small.read(["0"]).features) == 10
    assert small.kept_bytes == 0


def test_everything_wrong_with_tables_and_files_is_said_at_once(tmp_path: Path):
    write_cohort(tmp_path, patients=6)
    write_slide(tmp_path / "features" / "p0-0.h5", np.zeros((3, 7), dtype=np.float32))
    (tmp_path / "features" / "p2-0.h5").unlink()
    lines = (tmp_path / "clinical.csv").read_text().replace("p4,yes", "p4,maybe").replace("p4,no", "p4,maybe")
    (tmp_path / "clinical.csv").write_text(lines)
    with pytest.raises(TableError) as caught:
        sources(tmp_path, cohort_config())
    said = str(caught.value)
    assert "'p0-0.svs' have 7" in said
    assert "'p2-0.svs' has no feature file" in said
    assert "maybe" in said


def test_tile_size_comes_from_the_files_or_the_config(cohort: Path, tmp_path: Path):
    assert sources(cohort, cohort_config())[0].spec.tile_um == TILE_UM
    assert sources(cohort, cohort_config(tile_um=100.0))[0].spec.tile_um == 100.0


def test_a_patient_of_the_external_cohort_is_in_no_other(cohort: Path, tmp_path: Path):
    write_cohort(tmp_path, patients=6, first=38)
    external = {name: str(tmp_path / file) for name, file in (("slides", "slides.csv"), ("features", "features"))}
    external["clinical"] = str(tmp_path / "clinical.csv")
    with pytest.raises(ValueError, match="found 2 in both, such as 'p38'"):
        sources(cohort, cohort_config(external=external))


def test_training_writes_model_split_and_predictions_that_beat_the_floors(cohort: Path, tmp_path: Path):
    config = cohort_config(tables={"losses": {"regression": "standard"}})
    *_, last = train(config, output=tmp_path / "from-tables", runs=tmp_path / "runs", data=(cohort,))
    assert last.output == tmp_path / "from-tables"
    metrics = read_model_card(last.output).metrics
    assert metrics["tumour"]["auroc"] > 0.9
    assert metrics["score"]["mean_absolute_error"] < metrics["score"]["mean_absolute_error_floor"]
    parts = read_predictions(last.output)
    assert set(parts) == {"selection", "test"}
    assert parts["test"].run == "from-tables"
    assert set(parts["test"].floors) == {"majority", "linear probe"}
    (source,) = sources(cohort, cohort_config())
    assert set(parts["test"].patients) == {sample.patient for sample in source.parts["test"].samples}
    assert (tmp_path / f"{last.output.name}.patients" / "split.json").is_file()
    again = measure(last.output, data=(cohort,))
    assert again["tumour"]["auroc"] == pytest.approx(metrics["tumour"]["auroc"], abs=1e-6)


def test_the_models_folder_names_no_patient(cohort: Path, tmp_path: Path):
    """Also where an earlier version wrote its files into the folder."""
    folder = tmp_path / "from-tables"
    for name in ("predictions.csv", "predictions.toml", "predictions.safetensors", "split.json"):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text("p1", encoding="utf-8")
    *_, last = train(cohort_config(), output=folder, runs=tmp_path / "runs", data=(cohort,))
    (source,) = sources(cohort, cohort_config())
    names = [name.encode() for part in source.parts.values() for name in (s.name for s in part.samples)]
    beside = b"".join(path.read_bytes() for path in patients_folder(folder).iterdir())
    assert all(name in beside for name in names)
    shared = [path for path in last.output.rglob("*") if path.is_file() and path.suffix != ".safetensors"]
    assert {path.name for path in shared} == {"model.toml", "README.md", "train.toml"}
    text = b"".join(path.read_bytes() for path in shared)
    assert not [name for name in names if re.search(rb"\b" + name + rb"\b", text)]


def test_the_split_of_a_run_makes_the_same_split_again(cohort: Path, tmp_path: Path):
    (source,) = sources(cohort, cohort_config())
    source.write_split(tmp_path)
    (again,) = sources(cohort, cohort_config(split=str(tmp_path / "split.json")))
    assert again.split.digest == source.split.digest
    with pytest.raises(ValueError, match="found both"):
        sources(cohort, cohort_config(split=str(tmp_path / "split.json"), folds=3))


def test_files_that_cannot_be_used_are_all_named_before_the_first_step(tmp_path: Path):
    write_cohort(tmp_path, patients=20)
    (source,) = sources(tmp_path, cohort_config())
    damaged = [source.parts[part].samples[0].files[0] for part in ("train", "test")]
    for name in damaged:
        path = tmp_path / "features" / f"{Path(name).stem}.h5"
        with h5py.File(path, "r+") as file:
            file["feats"][0, 0] = np.nan
    (source,) = sources(tmp_path, cohort_config())
    with pytest.raises(ValueError, match="2 feature files cannot be used") as caught:
        BagsJob(cohort_config(), source, device=torch.device("cpu"))
    assert all(Path(name).stem in str(caught.value) for name in damaged)


def test_features_of_another_length_are_refused(tmp_path: Path):
    write_slide(tmp_path / "a.h5", np.zeros((3, 7), dtype=np.float32))
    with pytest.raises(ValueError, match=rf"embeddings of length 7; expected {LENGTH}"):
        FeatureFiles(tmp_path, features=LENGTH, most_bytes=10**6).read(["a.svs"])
