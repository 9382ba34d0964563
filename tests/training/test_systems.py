"""Several trainings with one command: a teacher before its student, a model per fold, resumed in any phase."""

from itertools import takewhile
from pathlib import Path

import pytest
import torch
from made_cohort import cohort_config, write_cohort

from napari_mtlpath.evaluation.prediction_files import read_predictions
from napari_mtlpath.folders import patients_folder
from napari_mtlpath.tables.split_file import read_split
from napari_mtlpath.training.config.train_config import BagsConfig
from napari_mtlpath.training.loop.report import Phase, TrainingReport
from napari_mtlpath.training.measure import measure
from napari_mtlpath.training.train import train
from napari_mtlpath.zoo.card import read_model_card

LOSSES = {"losses": {"regression": "min_max", "class_weights": "balanced"}}
SHORT = {"epochs": 1, "batch": 8, "learning_rate": 0.05}
TAUGHT = LOSSES | {"distillation": {"teacher_epochs": 3}}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"))


def run(config: BagsConfig, folder: Path, cohort: Path, *, out: str = "") -> list[TrainingReport]:
    return list(train(config, output=folder / (out or config.name), runs=folder / "runs", data=(cohort,)))


def stages(reports: list[TrainingReport]) -> list[str]:
    return list(dict.fromkeys(report.stage for report in reports))


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def taught(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TrainingReport]]:
    folder = tmp_path_factory.mktemp("taught")
    return folder, run(cohort_config("student", tables=TAUGHT), folder, cohort)


def test_the_teacher_is_trained_first_and_the_card_names_its_hash(taught: tuple[Path, list[TrainingReport]]):
    folder, reports = taught
    assert stages(reports) == ["teacher", "student"]
    assert [report.epochs for report in reports if report.phase is Phase.DONE] == [3, 6]
    assert [report.output for report in reports if report.phase is Phase.DONE] == [None, folder / "student"]
    teacher = read_model_card(folder / "runs" / "student" / "teacher" / "student-teacher")
    student = read_model_card(folder / "student")
    assert student.provenance["teacher"] == "student-teacher"
    assert student.provenance["teacher_sha256"] == teacher.weights_sha256
    assert student.metrics["tumour"]["auroc"] > 0.9


def test_a_finished_teacher_can_be_named_and_gives_the_same_student(
    cohort: Path, taught: tuple[Path, list[TrainingReport]], tmp_path: Path
):
    folder, _ = taught
    teacher = folder / "runs" / "student" / "teacher" / "student-teacher"
    config = cohort_config("student", tables=LOSSES | {"distillation": {"teacher": str(teacher)}})
    reports = run(config, tmp_path, cohort)
    assert stages(reports) == ["student"]
    assert weights(tmp_path / "student") == weights(folder / "student")


def test_distillation_changes_what_is_learned(cohort: Path, taught: tuple[Path, list[TrainingReport]], tmp_path: Path):
    folder, _ = taught
    run(cohort_config("student", tables=LOSSES), tmp_path, cohort)
    assert weights(tmp_path / "student") != weights(folder / "student")


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_a_training_stopped_in_either_phase_goes_on_to_the_same_weights(
    stage: str, cohort: Path, taught: tuple[Path, list[TrainingReport]], tmp_path: Path
):
    config = cohort_config("student", tables=TAUGHT)
    reports = train(config, output=tmp_path / "student", runs=tmp_path / "runs", data=(cohort,))
    before = list(takewhile(lambda report: not (report.stage == stage and report.epoch == 2), reports))
    reports.close()
    assert stages(before)[-1] == stage
    after = run(config, tmp_path, cohort)
    assert stages(after) == (["teacher", "student"] if stage == "teacher" else ["student"])
    epochs = [report.epoch for report in after if report.stage == stage and report.phase is Phase.EPOCH]
    assert epochs[0] > 1
    assert weights(tmp_path / "student") == weights(taught[0] / "student")


def test_folds_give_a_model_each_and_test_every_patient_once(cohort: Path, tmp_path: Path):
    outside = write_cohort(tmp_path / "outside", patients=8, seed=7, first=100)
    external = {key: str(outside / f"{key}.csv") for key in ("slides", "clinical")}
    external["features"] = str(outside / "features")
    config = cohort_config("folded", tables=LOSSES | {"optimisation": SHORT}, folds=3, external=external)
    reports = run(config, tmp_path, cohort)
    assert stages(reports) == [f"fold {number} of 3" for number in (1, 2, 3)]
    assert reports[-1].output == tmp_path / "folded"
    tested: list[str] = []
    for number in (1, 2, 3):
        model = tmp_path / "folded" / f"folded-fold-{number}"
        parts = read_predictions(model)
        assert set(parts) == {"selection", "test", "external"}
        assert (parts["test"].run, parts["test"].fold) == ("folded", number - 1)
        assert set(parts["external"].patients) == {f"p{n}" for n in range(100, 108)}
        assert set(parts["test"].patients) == set(read_split(patients_folder(model) / "split.json").test)
        tested += parts["test"].patients
        assert "tumour, external" in read_model_card(model).metrics
    assert sorted(tested) == sorted(f"p{number}" for number in range(40))
    again = measure(tmp_path / "folded" / "folded-fold-2", data=(cohort,))
    card = read_model_card(tmp_path / "folded" / "folded-fold-2")
    assert again["tumour"]["auroc"] == pytest.approx(card.metrics["tumour"]["auroc"], abs=1e-6)


def test_folds_that_were_finished_are_not_trained_again(cohort: Path, tmp_path: Path):
    config = cohort_config("folded", tables=LOSSES | {"optimisation": SHORT}, folds=3)
    reports = train(config, output=tmp_path / "folded", runs=tmp_path / "runs", data=(cohort,))
    list(takewhile(lambda report: report.phase is not Phase.DONE, reports))
    reports.close()  # at the last report of the first fold
    first = weights(tmp_path / "folded" / "folded-fold-1")
    assert stages(run(config, tmp_path, cohort)) == ["fold 2 of 3", "fold 3 of 3"]
    assert weights(tmp_path / "folded" / "folded-fold-1") == first
    assert stages(run(config, tmp_path, cohort))[0] == "fold 1 of 3"


def test_the_thread_that_trains_leaves_torchs_chance_alone(cohort: Path, tmp_path: Path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(cohort_config("alone", tables={"sampling": {"tile_share": 0.5, "bags": "balanced"}}), tmp_path, cohort)
    assert torch.equal(torch.rand(3), expected)
