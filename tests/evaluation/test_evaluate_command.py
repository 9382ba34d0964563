"""`mtlpath evaluate` and `mtlpath compare` from end to end: runs, a model on a cohort, calibration into its card."""

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_predictions import made
from synthetic import tissue, write_aperio_like
from typer.testing import CliRunner

from napari_mtlpath.cli.isolation import Failed
from napari_mtlpath.cli.main import app
from napari_mtlpath.evaluation.prediction_files import write_predictions
from napari_mtlpath.evaluation.predictions import Predictions
from napari_mtlpath.features.h5 import read_features, write_features
from napari_mtlpath.folders import packaged_models, patients_folder
from napari_mtlpath.inference.aggregate import aggregate
from napari_mtlpath.session.wording import value_words
from napari_mtlpath.tables.split import Split
from napari_mtlpath.tables.split_file import write_split
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.units import Microns, SlidePixels, TilePixels
from napari_mtlpath.zoo.card import read_model_card
from napari_mtlpath.zoo.load import broken_models, load_model
from napari_mtlpath.zoo.model import SlideModel

MODEL = "smear-mecds"
PATIENTS = 30


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of a report's time and has tests of its own."""
    monkeypatch.setattr("napari_mtlpath.evaluation.report.files.has_pictures", lambda: False)


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "slide-models" / MODEL
    shutil.copytree(packaged_models() / "slide-models" / MODEL, folder)
    return folder


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """A slide table with labels, 30 patients, two slides of the first; features that the model half understands."""
    random = np.random.default_rng(0)
    model = load_model(MODEL, device="cpu")
    folder = tmp_path / "features"
    rows = []
    for patient in range(PATIENTS):
        for number in range(2 if patient == 0 else 1):
            name = f"CANARY-{patient}-{number}.svs"
            corners = np.stack(np.meshgrid(np.arange(3.0), np.arange(3.0)), -1).reshape(-1, 2) * 36.0
            features = random.normal(size=(9, model.encoder.features)).astype(np.float32)
            write_features(
                folder / f"{name}.h5",
                features,
                corners,
                extractor=f"{model.card.encoder}-{model.encoder.digest[:8]}",
                tile_um=Microns(36.0),
                tile_px=TilePixels(96),
            )
            rows.append((f"CANARY {patient}", name, features))
    answers = {patient: _logit(model, [row[2] for row in rows if row[0] == patient]) for patient, *_ in rows}
    middle = float(np.median(list(answers.values())))
    with (tmp_path / "cohort.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["PATIENT", "FILENAME", "basophils", "neutrophil_share", "vacuolated_share"])
        for patient, name, _ in rows:
            noisy = answers[patient] > middle if int(patient.split()[1]) % 5 else answers[patient] <= middle
            share = 0.3 if patient.endswith("0") else 0.4
            writer.writerow([patient, name, "present" if noisy else "absent", share, ""])
    return tmp_path / "cohort.csv"


def _logit(model: SlideModel, bags: list[np.ndarray]) -> float:
    with torch.inference_mode():
        return float(model.aggregator(torch.from_numpy(np.concatenate(bags))).tasks["basophils"].logits[0])


def run(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


def written(folder: Path) -> dict:
    return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))


def test_a_runs_own_answers_are_judged_where_they_lie(tmp_path: Path) -> None:
    write_predictions(tmp_path / "run", [made(), made(part="selection")])

    said = run("evaluate", tmp_path / "run", "--draws", 100)

    assert "AUROC" in said
    assert "napari-mtlpath[report]" in said  # no pictures: what to install
    assert "CANARY" not in said
    values = written(tmp_path / "run" / "evaluation")
    assert values["part"] == "test"
    assert "selection part" in values["tasks"]["msi"]["operating_point"]
    assert (tmp_path / "run" / "evaluation" / "evaluation.html").is_file()


def test_json_is_what_the_file_says(tmp_path: Path) -> None:
    write_predictions(tmp_path / "run", [made()])

    said = json.loads(run("evaluate", tmp_path / "run", "--draws", 100, "--json"))

    assert said["tasks"] == written(tmp_path / "run" / "evaluation")["tasks"]


def test_the_gain_over_single_task_runs_is_reported(tmp_path: Path) -> None:
    write_predictions(tmp_path / "both", [made()])
    single = []
    for name in ("msi", "share"):
        write_predictions(tmp_path / name, [made(f"only {name}", tasks=(name,))])
        single += ["--single", tmp_path / name]

    run("evaluate", tmp_path / "both", *single, "--draws", 100)

    gain = written(tmp_path / "both" / "evaluation")["gain"]
    assert set(gain["by_task_percent"]) == {"msi", "share"}


def test_compare_takes_folders_of_seeds_and_says_where_nothing_is_ranked(tmp_path: Path) -> None:
    for name in ("equal", "uncert+cagrad"):
        for seed in range(2):
            write_predictions(tmp_path / name / f"seed-{seed}", [made(name, seed=seed)])

    said = run("compare", tmp_path / "equal", tmp_path / "uncert+cagrad", "--out", tmp_path / "out", "--draws", 100)

    assert "no ranking, because the intervals overlap" in said
    values = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert values["runs"]["equal"] == "2 seeds"
    assert {row["test"] for row in values["figures"] if "test" in row} == {"paired bootstrap"}
    run("compare", tmp_path / "equal", "--baseline", "nobody", "--out", tmp_path / "out", status=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no predictions"),
        (["RUN", "--part", "external"], "It has: test"),
        (["RUN", "--calibrate"], "no model.toml"),
        (["RUN", "--rule", "best"], "youden, specificity"),
        (["RUN", "--specificity", "1.5"], "between 0 and 1"),
    ],
)
def test_what_cannot_be_judged_is_said_in_one_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    write_predictions(tmp_path / "run", [made()])

    said = run("evaluate", *[tmp_path / "run" if each == "RUN" else each for each in arguments], status=1)

    assert words in said
    assert said.count("\n") == 1


def test_a_model_judges_a_cohort_patient_by_patient(tmp_path: Path, model_folder: Path, cohort: Path) -> None:
    out = tmp_path / "out"
    run("evaluate", cohort, "--model", model_folder, "--features", tmp_path / "features", "--out", out, "--draws", 100)

    values = written(out)
    assert (values["samples"], values["patients"]) == (PATIENTS, PATIENTS)
    assert sum(values["tasks"]["basophils"]["counts"].values()) == PATIENTS
    assert values["tasks"]["basophils"]["figures"]["auroc"]["value"] == pytest.approx(0.8, abs=0.12)
    assert any("vacuolated_share" in note for note in values["notes"])  # no label at all
    assert "CANARY" not in "".join(path.read_text(encoding="utf-8") for path in out.glob("evaluation.*"))


def test_calibration_lands_in_the_card_and_makes_probabilities_of_scores(
    tmp_path: Path, model_folder: Path, cohort: Path
) -> None:
    model = load_model(model_folder, device="cpu")
    before = _shown(model, tmp_path)
    assert before.startswith("score ")

    command = ["evaluate", cohort, "--model", model_folder, "--features", tmp_path / "features", "--draws", 100]
    run(*command, "--calibrate", "--out", tmp_path / "calibration")

    card = read_model_card(model_folder)
    stored = card.calibration["basophils"]
    assert "30 patients of cohort.csv" in str(stored["fitted_on"])
    assert set(card.calibration) == set(card.operating_points) == set(card.conformal) == {"basophils"}
    assert "CANARY" not in (model_folder / "model.toml").read_text(encoding="utf-8")
    calibrated = load_model(model_folder, device="cpu")
    assert calibrated.digest != model.digest
    logit = _logit(model, [read_features(_first(tmp_path)).features])
    expected = 1 / (1 + np.exp(-(float(stored["slope"]) * logit + float(stored["intercept"]))))
    assert _shown(calibrated, tmp_path) == f"probability {expected:.2f}"
    assert _shown(calibrated, tmp_path, total=12).startswith("score ")  # a part of the slide promises nothing

    said = run(*command, "--out", tmp_path / "again")  # judging the patients it was calibrated on is said
    assert "look better than they are" in " ".join(said.split())
    assert written(tmp_path / "again")["tasks"]["basophils"]["calibrated"] is True
    assert "answered" in written(tmp_path / "again")["tasks"]["basophils"]["prediction_sets"]


def _first(tmp_path: Path) -> Path:
    return tmp_path / "features" / "CANARY-1-0.svs.h5"


def _shown(model: SlideModel, tmp_path: Path, *, total: int = 9) -> str:
    """What the viewer's predictions section says about the slide of the second patient."""
    side = SlidePixels(96 * 3)
    grid = TileGrid.for_slide(height=side, width=side, mpp=(0.375, 0.375), spec=model.card.tile)
    features = read_features(_first(tmp_path)).features
    unused = dict.fromkeys(("resolution", "read_square", "tile_shape", "thumbnail", "changed_on_disk"), print)
    slide = SimpleNamespace(name="a", fingerprint="0" * 64, height=side, width=side, colour="native", **unused)
    result = aggregate(model, np.arange(9), features, grid, total, slide=slide)
    return value_words(result.of("basophils"))


def test_calibration_never_uses_the_test_part(tmp_path: Path, model_folder: Path, cohort: Path) -> None:
    names = [f"CANARY {number}" for number in range(PATIENTS)]
    split = Split(train=tuple(names[:5]), selection=tuple(names[5:28]), test=tuple(names[28:]), method="given")
    write_split(model_folder / "split.json", split)
    command = ["evaluate", cohort, "--model", model_folder, "--features", tmp_path / "features", "--draws", 100]

    run(*command, "--calibrate", "--out", tmp_path / "calibration")
    said = run(*command, "--out", tmp_path / "judged")

    assert "23 patients of cohort.csv" in str(read_model_card(model_folder).calibration["basophils"]["fitted_on"])
    assert written(tmp_path / "judged")["patients"] == 2
    assert "5 patients are left out: they belong to the training part" in " ".join(said.split())
    assert "23 patients are left out: they belong to the selection part" in " ".join(said.split())


def test_judging_some_of_the_patients_of_a_calibration_is_said(
    tmp_path: Path, model_folder: Path, cohort: Path
) -> None:
    def table(name: str, patients: range) -> Path:
        lines = cohort.read_text(encoding="utf-8").splitlines()
        wanted = {f"CANARY {number}" for number in patients}
        kept = [line for line in lines[1:] if line.split(",")[0] in wanted]
        (tmp_path / name).write_text("\n".join([lines[0], *kept]) + "\n", encoding="utf-8")
        return tmp_path / name

    options = ["--model", model_folder, "--features", tmp_path / "features", "--draws", 100]
    unchecked = run("evaluate", table("fit.csv", range(24)), *options, "--calibrate", "--out", tmp_path / "fit")
    partly = run("evaluate", table("some.csv", range(20, 30)), *options, "--out", tmp_path / "some")
    apart = run("evaluate", table("others.csv", range(24, 30)), *options, "--out", tmp_path / "others")

    assert "whether it learned from some of these patients was not checked" in " ".join(unchecked.split())
    assert "4 of 10 of these patients are among those that basophils was calibrated on" in " ".join(partly.split())
    assert "calibrated on" not in " ".join(apart.split())
    assert "CANARY" not in "".join(path.read_text(encoding="utf-8") for path in model_folder.glob("*.toml"))
    assert "CANARY 3" in (tmp_path / "models" / "slide-models" / f"{MODEL}.patients" / "calibrated.json").read_text()
    assert [entry.name for entry in broken_models() if "patients" in entry.name] == []


def test_a_report_that_names_samples_lies_beside_the_models_folder(tmp_path: Path, model_folder: Path) -> None:
    task = read_model_card(model_folder).task("basophils")
    said = made(tasks=("msi",))
    part = replace(said, tasks=(task,), logits={"basophils": said.logits["msi"]}, embeddings={}, floors={})
    write_predictions(patients_folder(model_folder), [part])
    run("evaluate", model_folder, "--with-names", "--draws", 100)
    assert (patients_folder(model_folder) / "evaluation" / "evaluation.json").is_file()
    assert not (model_folder / "evaluation").exists()


def test_seeds_of_a_run_are_compared_where_predictions_lie_beside_their_models(tmp_path: Path) -> None:
    for name in ("first", "second"):
        for seed in (1, 2):
            model = tmp_path / name / f"seed-{seed}"
            model.mkdir(parents=True)
            write_predictions(patients_folder(model), [made(name, seed=seed)])
    run("compare", tmp_path / "first", tmp_path / "second", "--out", tmp_path / "all", "--draws", 100)
    run(
        "compare",
        tmp_path / "first" / "seed-1",
        tmp_path / "second" / "seed-1",
        "--out",
        tmp_path / "one",
        "--draws",
        100,
    )
    assert (tmp_path / "all" / "comparison.json").is_file()
    assert (tmp_path / "one" / "comparison.json").is_file()


def test_a_run_with_a_model_is_calibrated_on_its_selection_part(tmp_path: Path, model_folder: Path) -> None:
    def part(name: str) -> Predictions:
        said = made(part=name, tasks=("msi",))
        task = replace(read_model_card(model_folder).task("basophils"))
        values = {"basophils": said.logits["msi"]}
        return replace(said, tasks=(task,), logits=values, embeddings={}, floors={})

    write_predictions(model_folder, [part("test"), part("selection")])

    run("evaluate", model_folder, "--calibrate", "--coverage", "0.8", "--draws", 100)

    card = read_model_card(model_folder)
    assert "selection part" in str(card.calibration["basophils"]["fitted_on"])
    assert card.conformal["basophils"]["coverage"] == 0.8
    assert "fitted on" in (model_folder / "README.md").read_text(encoding="utf-8")
    assert load_model(model_folder, device="cpu").name == MODEL  # the weights are untouched


def test_slides_without_features_are_named_with_what_to_do(tmp_path: Path, model_folder: Path, cohort: Path) -> None:
    _first(tmp_path).unlink()

    said = run("evaluate", cohort, "--model", model_folder, "--features", tmp_path / "features", status=1)

    assert "slide 'CANARY-1-0.svs' has no features" in said
    assert "mtlpath extract" in said


class _InThisProcess:
    """Stands for `IsolatedWork`: what matters here is the result, and a child would import torch again."""

    def __init__(self, prepare: Callable, *, silence_seconds: float) -> None:
        self._work = prepare()

    def run(self, slide: Path) -> Iterator[object]:
        try:
            yield from self._work(slide)
        except (OSError, ValueError) as error:
            yield Failed(message=str(error))

    def close(self) -> None:
        """Nothing is open."""


def test_slides_without_features_are_read_as_predict_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers about a slide are those of `mtlpath predict`; a broken slide costs that slide."""
    monkeypatch.setattr("napari_mtlpath.cli.cohort_answers.IsolatedWork", _InThisProcess)
    slides = tmp_path / "slides"
    slides.mkdir()
    write_aperio_like(slides / "a.svs", tissue(700, 900), mpp=0.375)
    (slides / "b.svs").write_bytes(b"no slide")
    table = tmp_path / "cohort.csv"
    table.write_text("PATIENT,FILENAME,basophils\nP1,a.svs,absent\nP2,b.svs,present\n", encoding="utf-8")
    out = tmp_path / "out"

    said = run(
        *("evaluate", table, "--model", MODEL, "--task", "basophils", "--slides", slides, "--out", out),
        *("--draws", 100),
        status=3,
    )

    assert "Error: b.svs" in said
    assert written(out)["tasks"]["basophils"]["counts"] == {"absent": 1, "present": 0}
    assert "No sample is 'present'" in " ".join(written(out)["tasks"]["basophils"]["notes"])
    exported = json.loads((out / "slides" / "a" / "predictions.json").read_text(encoding="utf-8"))
    model = load_model(MODEL, device="cpu")
    logit = _logit(model, [read_features(out / "features" / "a.svs.h5").features])
    assert exported["tasks"]["basophils"]["score"] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-6)
