"""`mtlpath predict` with a model that answers pixel by pixel: masks, areas, contours, and the viewer's numbers."""

import csv
import json
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import shapely.geometry
import tifffile
from pixel_fakes import ColourModel
from pixel_slides import DrawnSlide
from pixel_worlds import PARTS, STAIN, TYPES, small_network
from synthetic import tissue, write_aperio_like
from typer.testing import CliRunner

from napari_mtlpath.cli.isolation import Failed
from napari_mtlpath.cli.main import app
from napari_mtlpath.cli.pixel_prediction import WORK_FOLDER, predict_pixels
from napari_mtlpath.cli.prediction import SlideDone, Wishes
from napari_mtlpath.inference.export.contours import SMALLEST_REGION, regions_of, write_contours
from napari_mtlpath.inference.export.outputs import Outputs
from napari_mtlpath.inference.export.provenance import provenance_now
from napari_mtlpath.inference.live_report import LiveReport, LiveState
from napari_mtlpath.inference.pixels.live import PixelAnalysis
from napari_mtlpath.inference.pixels.plan import pixel_plan
from napari_mtlpath.inference.pixels.stream import analyse_pixels
from napari_mtlpath.inference.pixels.window_file import WindowFile
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import Microns, TilePixels
from napari_mtlpath.zoo.pixel_card import PixelCard
from napari_mtlpath.zoo.pixel_load import load_pixel_model, save_pixel_model

PATIENCE = 120.0


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the pixel model `tiny`."""
    folder = tmp_path_factory.mktemp("models")
    network = small_network("ctan", (PARTS, TYPES, STAIN))
    card = PixelCard(
        name="tiny",
        tasks=network.tasks,
        tile=TileSpec(tile_um=Microns(64.0), tile_px=TilePixels(64)),
        network="ctan",
        options=network.options,
        licence="CC-BY-4.0",
    )
    save_pixel_model(folder / "pixel-models" / "tiny", card, network.state_dict())
    return folder


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_aperio_like(tmp_path_factory.mktemp("slides") / "a.svs", tissue(700, 900), mpp=0.5)


@pytest.fixture(scope="module")
def done(models: Path, slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The slide's folder of one finished run."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTLPATH_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr("napari_mtlpath.cli.predict.IsolatedWork", InThisProcess)
        words = ["predict", str(slide), "--model", str(models / "pixel-models" / "tiny"), "--out", str(out)]
        result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    assert "cytoplasm" in result.stdout
    return out / "a"


class InThisProcess:
    """Stands for `IsolatedWork` where what matters is the result: no child process, so no second import of torch."""

    def __init__(self, prepare, *, silence_seconds: float) -> None:
        self._prepare = prepare

    def run(self, slide: Path):
        try:
            yield from self._prepare()(slide)
        except (OSError, ValueError) as error:
            yield Failed(message=str(error), fatal=False)

    def close(self) -> None:
        """Nothing is open."""


def wishes(root: Path, **options: bool) -> Wishes:
    return Wishes(model="tiny", device="cpu", root=root, mpp=None, overwrite=False, outputs=Outputs(**options))


def said(folder: Path) -> dict:
    return json.loads((folder / "predictions.json").read_text(encoding="utf-8"))


def test_a_mask_is_a_pyramid_whose_pixels_have_their_physical_size(done: Path) -> None:
    with tifffile.TiffFile(done / "masks" / "cell_parts.ome.tif") as file:
        assert file.is_ome
        (series,) = file.series
        labels = series.levels[0].asarray()
        shapes = [level.shape for level in series.levels]
        description = file.ome_metadata
    assert labels.dtype == np.uint8
    assert labels.shape == (350, 450)  # the whole slide, one micron per pixel
    assert shapes == [labels.shape] or shapes[1] == (175, 225)
    assert 'PhysicalSizeX="1.0"' in description
    assert "Research use only" in description
    assert set(np.unique(labels)) <= {0, 1, 2, 255}


def test_values_of_pixels_are_floats_with_nan_where_nothing_is_known(done: Path) -> None:
    values = tifffile.imread(done / "masks" / "stain.ome.tif")
    labels = tifffile.imread(done / "masks" / "cell_parts.ome.tif")
    np.testing.assert_array_equal(np.isnan(values), labels == 255)
    known = values[np.isfinite(values)]
    assert known.min() >= STAIN.low
    assert known.max() <= STAIN.high
    assert said(done)["tasks"]["stain"]["value"] == pytest.approx(known.mean(), rel=1e-5)


def test_areas_are_those_of_the_mask(done: Path) -> None:
    labels = tifffile.imread(done / "masks" / "cell_parts.ome.tif")
    parts = said(done)["tasks"]["cell_parts"]
    counts = np.array([(labels == number).sum() for number in range(3)])
    np.testing.assert_allclose(list(parts["areas_mm2"].values()), counts / 1e6, rtol=1e-9)
    np.testing.assert_allclose(list(parts["area_shares"].values()), counts / counts.sum(), rtol=1e-9)
    assert list(parts["area_shares"]) == list(PARTS.classes)
    assert said(done)["level"] == "all tiles"
    assert said(done)["tasks"]["cell_type"]["over"] == "tiles"


def test_every_tile_has_a_row_with_its_shares(done: Path) -> None:
    with (done / "tiles.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == said(done)["tiles_known"]
    for row in rows:
        assert sum(float(row[f"cell_parts: {name} share"]) for name in PARTS.classes) == pytest.approx(1.0)
        assert sum(float(row[f"cell_type: {name}"]) for name in TYPES.classes) == pytest.approx(1.0)


def test_contours_lie_on_the_cells_that_are_drawn(tmp_path: Path) -> None:
    slide, model = DrawnSlide(height=320, width=384), ColourModel()
    plan = pixel_plan(slide, model)
    open_file = partial(WindowFile.kept, tmp_path / "windows", plan.key, plan.lattice)
    run = analyse_pixels(slide, model, plan, open_file=open_file)
    while True:
        try:
            next(run)
        except StopIteration as end:
            maps, unreadable = end.value
            break
    assert unreadable == 0
    assert not any(attention for *_, attention in model.asked)  # no file shows it
    provenance = provenance_now(
        slide=slide.name, slide_fingerprint="d", model="colours", model_digest="1", parameters={}
    )
    write_contours(tmp_path / "contours.geojson", maps, provenance)
    maps.close()

    drawn = json.loads((tmp_path / "contours.geojson").read_text(encoding="utf-8"))
    assert drawn["mtlpath"]["slide"] == "drawn.svs"
    assert drawn["mtlpath"]["traced_at_um"] == 0.5
    nuclei = [each for each in drawn["features"] if each["properties"]["classification"]["name"] == "nucleus"]
    assert len(nuclei) == 5 * 6  # one every 64 pixels
    for feature in nuclei:
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.is_valid
        assert (shape.centroid.y % 64, shape.centroid.x % 64) == pytest.approx((32, 32), abs=0.3)
        assert shape.area == pytest.approx(np.pi * 11**2, rel=0.05)
        assert feature["properties"]["measurements"]["Area um^2"] == pytest.approx(shape.area / 4, rel=0.05)


def test_a_ring_and_its_hole_are_traced_at_the_edges_of_their_pixels() -> None:
    labels = np.zeros((20, 30), np.uint8)
    labels[4:12, 6:18] = 1
    labels[6:9, 9:14] = 0
    labels[0, 0] = 2
    labels[15:18, 25:30] = 2
    ring, corner = regions_of(labels, 3)
    assert (ring.number, ring.pixels, len(ring.rings)) == (1, 8 * 12 - 3 * 5, 2)
    outer = shapely.geometry.Polygon(ring.rings[0])
    hole = shapely.geometry.Polygon(ring.rings[1])
    assert outer.bounds == (4.0, 6.0, 12.0, 18.0)
    assert hole.bounds == (6.0, 9.0, 9.0, 14.0)
    assert corner.number == 2  # the lone pixel has fewer than SMALLEST_REGION
    assert corner.pixels == 15 > SMALLEST_REGION
    assert shapely.geometry.Polygon(corner.rings[0]).bounds == (15.0, 25.0, 18.0, 30.0)


def test_the_viewer_says_the_same_numbers(done: Path, models: Path, slide: Path) -> None:
    opened = open_slide(slide)
    model = load_pixel_model(models / "pixel-models" / "tiny", device="cpu")
    complete, last = threading.Event(), []

    def hear(report: LiveReport) -> None:
        if report.state is LiveState.COMPLETE:
            last[:] = [report]
            complete.set()

    live = PixelAnalysis(opened, model, on_report=hear, idle_after=0.0)
    live.look_at(100, 100, 500, 600)
    assert complete.wait(PATIENCE)
    result = last[0].result
    exported = said(done)
    assert (result.tiles_known, result.tiles_total) == (exported["tiles_known"], exported["tiles_total"])
    parts, kind, stain = (result.of(name) for name in ("cell_parts", "cell_type", "stain"))
    # A network's sums differ in the last bit from batch to batch; a byte that is rounded there may differ by one.
    shares = list(exported["tasks"]["cell_parts"]["area_shares"].values())
    np.testing.assert_allclose(parts.class_values, shares, atol=1e-4)
    np.testing.assert_allclose(list(exported["tasks"]["cell_type"]["classes"].values()), kind.class_values, atol=1e-6)
    assert stain.value == pytest.approx(exported["tasks"]["stain"]["value"], abs=1e-4)
    assert live.close()
    opened.close()


def test_a_stopped_run_goes_on_where_it_ended_and_a_finished_one_is_left_alone(
    models: Path, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_pixel_model(models / "pixel-models" / "tiny", device="cpu")
    answered: list[int] = []
    answer = type(model).answer

    def counting(self, tiles, **options):
        answered.append(len(tiles))
        return answer(self, tiles, **options)

    monkeypatch.setattr(type(model), "answer", counting)
    opened = open_slide(slide)
    run = predict_pixels(opened, model, wishes(tmp_path, geojson=False))
    first = next(report.known for report in run if report.known > 0)
    run.close()
    assert list((tmp_path / WORK_FOLDER).iterdir())

    answered.clear()
    *progress, end = predict_pixels(opened, model, wishes(tmp_path, geojson=False))
    assert isinstance(end, SlideDone)
    assert progress[0].known > 0
    total = end.predictions["tiles_total"]
    assert sum(answered) <= total - first + 2 + 1  # two blank tiles to see how it answers; a tile alone goes twice
    assert not (tmp_path / WORK_FOLDER).exists()
    assert set(end.predictions["files"]) == {"tiles", "masks"}

    (again,) = predict_pixels(opened, model, wishes(tmp_path, geojson=False))
    assert again.skipped
    opened.close()
