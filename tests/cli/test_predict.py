"""`mtlpath predict` from slide files to the files that others read."""

import csv
import importlib.util
import json
import shutil
import threading
from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import pytest
import shapely
import tifffile
import torch
from synthetic import tissue, write_aperio_like
from typer.testing import CliRunner

from napari_mtlpath.cli.isolation import Failed
from napari_mtlpath.cli.main import app
from napari_mtlpath.encoders.cards import EncoderCard
from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.encoders.save import save_encoder
from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.inference.export.naming import safe_name
from napari_mtlpath.inference.export.predictions import predictions
from napari_mtlpath.inference.export.provenance import Provenance
from napari_mtlpath.inference.live import LiveAnalysis
from napari_mtlpath.nn.aggregators.mecds import MECDS
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import Microns, TilePixels
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.load import ModelNotFound, load_model
from napari_mtlpath.zoo.save import save_model

TASKS = (
    Classification(name="basophils", title="Basophils"),
    Classification(name="kind", classes=("a", "b", "c")),
    Regression(name="=share", unit="share"),
)
OPTIONS = {"width": 16, "heads": 2, "blocks": 1}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the small MECDS model `small`."""
    folder = tmp_path_factory.mktemp("models")
    encoder = EncoderCard(
        name="stats", family="colour_stats", features=42, options={"tile_px": 32}, licence="BSD-3-Clause"
    )
    save_encoder(folder / "tile-encoders" / "stats", encoder, None)
    card = ModelCard(
        name="small",
        tasks=TASKS,
        encoder="stats",
        encoder_sha256=load_encoder("stats", models=folder).digest,
        tile=TileSpec(tile_um=Microns(32.0), tile_px=TilePixels(32)),
        aggregator="mecds",
        options=OPTIONS,
        licence="BSD-3-Clause",
    )
    network = MECDS.build(tasks=TASKS, features=42, options=OPTIONS, generator=torch.Generator().manual_seed(0))
    save_model(folder / "slide-models" / "small", card, network.state_dict())
    return folder


@pytest.fixture(autouse=True)
def _only_these_models(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTLPATH_MODELS", str(models))


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Aperio-like slide with identifying tags, a label and a macro image."""
    path = tmp_path_factory.mktemp("slides") / "A 07.svs"
    return write_aperio_like(path, tissue(700, 900), mpp=0.5, label=True)


@pytest.fixture(scope="module")
def slide_without_mpp(slide: Path) -> Path:
    return write_aperio_like(slide.with_name("unknown.svs"), tissue(500, 500, seed=1), mpp=None)


class InThisProcess:
    """Stands for `IsolatedWork` where what matters is the result: no child process, so no second import of torch."""

    def __init__(self, prepare, *, silence_seconds: float) -> None:
        self._prepare = prepare

    def run(self, slide: Path):
        try:
            yield from self._prepare()(slide)
        except (OSError, ValueError) as error:
            yield Failed(message=str(error), fatal=isinstance(error, ModelNotFound))

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_mtlpath.cli.predict.IsolatedWork", InThisProcess)


def predict(*words: str | Path):
    return CliRunner().invoke(app, ["predict", *(str(word) for word in words), "--model", "small"])


@pytest.fixture(scope="module")
def done(models: Path, slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished run over `slide`."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTLPATH_MODELS", str(models))
        patch.setenv("MTLPATH_HOME", str(tmp_path_factory.mktemp("home")))
        result = predict(slide, "--out", out)
    assert result.exit_code == 0, result.stderr
    return out


def _slide_folder(out: Path) -> Path:
    (path,) = out.glob("*/predictions.json")
    return path.parent


def test_every_kind_of_file_is_written(done: Path) -> None:
    folder = _slide_folder(done)
    said = json.loads((folder / "predictions.json").read_text(encoding="utf-8"))
    assert said["complete"]
    assert said["tiles_known"] > 100
    assert set(said["tasks"]) == {task.name for task in TASKS}
    assert 0 <= said["tasks"]["basophils"]["score"] <= 1
    assert sum(said["tasks"]["kind"]["classes"].values()) == pytest.approx(1, abs=1e-5)
    for names in said["files"].values():
        assert names
        assert all((folder / name).is_file() for name in names)
    assert len(said["files"]["heatmaps"]) >= 2 * len(TASKS)


def test_table_geojson_heatmaps_and_features_tell_of_the_same_tiles(done: Path) -> None:
    folder = _slide_folder(done)
    said = json.loads((folder / "predictions.json").read_text(encoding="utf-8"))
    with (folder / "tiles.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    features = json.loads((folder / "tiles.geojson").read_text(encoding="utf-8"))["features"]
    heatmap = tifffile.imread(folder / "heatmaps" / "basophils-routing.ome.tif")
    assert len(rows) == len(features) == int(np.isfinite(heatmap).sum()) == said["tiles_known"]
    row = rows[len(rows) // 2]
    place = heatmap[int(row["row"]), int(row["column"])]
    assert float(row["basophils: routing"]) == place
    measured = features[len(rows) // 2]
    assert measured["properties"]["measurements"]["basophils: routing"] == place
    outline = shapely.Polygon(measured["geometry"]["coordinates"][0])
    assert outline.bounds[:2] == (int(row["x_px"]), int(row["y_px"]))
    (h5,) = (done / "features").glob("*.h5")
    with h5py.File(h5) as file:
        assert file["feats"].shape == (len(rows), 42)
        assert file["coords"].shape == (len(rows), 2)
        assert file.attrs["unit"] == "um"


def test_routing_importance_has_mean_one(done: Path) -> None:
    heatmap = tifffile.imread(_slide_folder(done) / "heatmaps" / "basophils-routing.ome.tif")
    assert np.nanmean(heatmap) == pytest.approx(1, abs=1e-4)


def test_heatmap_pixel_size_is_the_tile_on_the_glass(done: Path) -> None:
    with tifffile.TiffFile(_slide_folder(done) / "heatmaps" / "basophils-routing.ome.tif") as file:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert pixels["PhysicalSizeX"] == pytest.approx(32.0)
    assert pixels["PhysicalSizeXUnit"] == "µm"


def test_nothing_of_the_patient_is_in_any_output(done: Path) -> None:
    for path in done.rglob("*"):
        if path.is_file():
            assert b"PHI-CANARY" not in path.read_bytes(), path
            assert "label" not in path.name.lower()
            assert "macro" not in path.name.lower()


def test_every_output_says_research_use_only(done: Path) -> None:
    for path in done.rglob("*"):
        if path.is_file():
            content = h5_text(path) if path.suffix == ".h5" else path.read_bytes()
            assert b"research use only" in content.lower(), path


def h5_text(path: Path) -> bytes:
    with h5py.File(path) as file:
        return " ".join(str(value) for value in file.attrs.values()).encode()


def test_a_task_called_like_a_formula_is_no_formula_and_no_path(done: Path) -> None:
    folder = _slide_folder(done)
    header = (folder / "tiles.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert "'=share: prediction" in header
    assert not [path.name for path in (folder / "heatmaps").iterdir() if "=" in path.name]


@pytest.mark.usefixtures("in_this_process")
def test_a_second_run_does_nothing(done: Path, slide: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*") if path.is_file()}
    result = predict(slide, "--out", done, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["slides"][0]["status"] == "already done"
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("in_this_process")
def test_a_missing_file_is_made_again(done: Path, slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(done, out)
    (_slide_folder(out) / "tiles.csv").unlink()
    result = predict(slide, "--out", out, "--json")
    assert json.loads(result.stdout)["slides"][0]["status"] == "done"
    assert (_slide_folder(out) / "tiles.csv").read_bytes().splitlines()[1:] == (
        (_slide_folder(done) / "tiles.csv").read_bytes().splitlines()[1:]
    )


@pytest.mark.usefixtures("in_this_process")
def test_another_resolution_is_another_result(done: Path, slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(done, out)
    result = predict(slide, "--out", out, "--mpp", "1.0", "--json")
    (said,) = json.loads(result.stdout)["slides"]
    assert said["status"] == "done"
    first = json.loads((_slide_folder(done) / "predictions.json").read_text(encoding="utf-8"))
    assert said["predictions"]["parameters_digest"] != first["parameters_digest"]
    assert said["predictions"]["slide_fingerprint"] == first["slide_fingerprint"]


@pytest.mark.usefixtures("in_this_process")
def test_without_resolution_it_refuses_in_one_sentence_and_takes_mpp(slide_without_mpp: Path, tmp_path: Path) -> None:
    refused = predict(slide_without_mpp, "--out", tmp_path / "out")
    assert refused.exit_code == 3
    (line,) = refused.stderr.strip().splitlines()
    assert "--mpp" in line
    assert not list((tmp_path / "out").glob("*/predictions.json"))
    taken = predict(slide_without_mpp, "--out", tmp_path / "out", "--mpp", "0.5", "--no-features")
    assert taken.exit_code == 0, taken.stderr
    assert not (tmp_path / "out" / "features").exists()


def test_broken_slides_are_reported_and_the_others_are_done(slide: Path, tmp_path: Path) -> None:
    (tmp_path / "page.svs").write_text("<html></html>", encoding="utf-8")
    torso = tmp_path / "torso.svs"
    torso.write_bytes(slide.read_bytes()[:3000])
    wanted = [tmp_path / "page.svs", tmp_path / "missing.svs", slide, torso]
    result = predict(*wanted, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 3
    status = {Path(said["slide"]).name: said["status"] for said in json.loads(result.stdout)["slides"]}
    assert status == {"page.svs": "failed", "missing.svs": "failed", "torso.svs": "failed", slide.name: "done"}
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 3
    assert all(line.startswith("Error: ") for line in lines)


@pytest.mark.usefixtures("in_this_process")
def test_two_slides_of_one_name_get_two_folders(slide: Path, slide_without_mpp: Path, tmp_path: Path) -> None:
    other = tmp_path / slide.name
    shutil.copy(slide_without_mpp, other)
    result = predict(slide, other, "--out", tmp_path / "out", "--mpp", "0.5", "--json")
    assert result.exit_code == 0, result.stderr
    folders = {said["folder"] for said in json.loads(result.stdout)["slides"]}
    assert len(folders) == 2
    assert len(list((tmp_path / "out" / "features").glob("*.h5"))) == 2


@pytest.mark.usefixtures("in_this_process")
def test_a_slide_given_twice_is_done_once(slide: Path, tmp_path: Path) -> None:
    result = predict(slide, slide, "--out", tmp_path / "out", "--json")
    assert len(json.loads(result.stdout)["slides"]) == 1


def test_a_mistyped_model_is_answered_with_the_nearest(slide: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["predict", str(slide), "--model", "smal", "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    (line,) = result.stderr.strip().splitlines()
    assert "'small'" in line


def test_predict_says_exactly_what_the_viewer_says(done: Path, slide: Path, tmp_path: Path) -> None:
    """The same slide through the live analysis, which meets its tiles in another order."""
    arrived = threading.Event()
    reports = []

    def hear(report) -> None:
        reports.append(report)
        if report.state in ("complete", "failed"):
            arrived.set()

    opened = open_slide(slide)
    model = load_model("small")
    store = FeatureStore(tmp_path / "features.sqlite")
    live = LiveAnalysis(opened, model, store=store, on_report=hear)
    live.look_at(300, 300, 600, 700)
    assert arrived.wait(120), reports[-1]
    live.close(timeout=10.0)
    opened.close()
    store.close()
    result = reports[-1].result
    said = json.loads((_slide_folder(done) / "predictions.json").read_text(encoding="utf-8"))
    assert (result.tiles_known, result.tiles_total) == (said["tiles_known"], said["tiles_total"])
    assert predictions(result, _provenance_of(said))["tasks"] == said["tasks"]
    for (task, kind), heatmap in result.heatmaps.items():
        (name,) = [path for path in said["files"]["heatmaps"] if path.endswith(f"{safe_name(task)}-{kind}.ome.tif")]
        np.testing.assert_array_equal(tifffile.imread(_slide_folder(done) / name), heatmap.values)


def _provenance_of(said: dict[str, str]) -> Provenance:
    return Provenance(**{field.name: said[field.name] for field in fields(Provenance)})


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")
@pytest.mark.usefixtures("in_this_process")
def test_a_backend_that_cannot_compute_the_encoder_is_refused_in_one_sentence(slide: Path, tmp_path: Path) -> None:
    result = predict(slide, "--out", tmp_path / "out", "--backend", "openvino")
    assert result.exit_code != 0
    assert "'stats' through OpenVINO" in result.stderr
    assert "Choose the backend 'torch'" in result.stderr


@pytest.mark.usefixtures("in_this_process")
def test_an_automatic_backend_predicts_with_torch_where_openvino_cannot(done: Path, slide: Path) -> None:
    result = predict(slide, "--out", done, "--backend", "auto", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["slides"][0]["status"] == "already done"  # the same features as torch's
