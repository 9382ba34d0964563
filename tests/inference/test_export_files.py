"""Exported files: opened by the libraries that others read them with."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from napari_mtlpath.inference.export.heatmap_tiff import write_heatmap
from napari_mtlpath.inference.export.naming import LONGEST, safe_name
from napari_mtlpath.inference.export.predictions import read_predictions, write_predictions
from napari_mtlpath.inference.export.provenance import Provenance, parameters_digest
from napari_mtlpath.inference.export.qupath import write_qupath_tiles
from napari_mtlpath.inference.export.tile_table import safe_cell, write_tile_table
from napari_mtlpath.inference.export.tiles import tile_columns
from napari_mtlpath.inference.heatmap import Heatmap, HeatmapKind
from napari_mtlpath.inference.results import PossibleClasses, SlideResult, TaskResult, ValueWord
from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import Microns, TilePixels

GRID = TileGrid.for_slide(
    height=1000, width=1500, mpp=(0.25, 0.5), spec=TileSpec(tile_um=Microns(75.0), tile_px=TilePixels(96))
)
FORMULAS = ("=cmd()", "+1", "-1", "@sum", "\tx", "\rx", "＝1")  # noqa: RUF001


def _provenance(**changes: str) -> Provenance:
    values = {
        "slide": "a.svs", "slide_fingerprint": "f00d", "model": "smear-mecds", "model_digest": "beef",
        "parameters_digest": "cafe", "program": "napari-mtlpath 0", "created": "2026-11-20T10:00:00+00:00", "user": "u",
    }  # fmt: skip
    return Provenance(**(values | changes))


def _result(task: str = "basophils") -> SlideResult:
    values = np.arange(len(GRID), dtype=np.float32).reshape(GRID.shape) / 7
    values[0, 1] = np.nan
    known = Heatmap(task=task, kind=HeatmapKind.ROUTING, values=values, grid=GRID)
    partly = np.full(GRID.shape, np.nan, dtype=np.float32)
    partly[1, 1] = 0.5
    other = Heatmap(task="share", kind=HeatmapKind.PREDICTION, values=partly, grid=GRID)
    answers = (
        TaskResult(
            task=Classification(name=task, classes=("absent", "present")),
            value=0.75, class_values=(0.25, 0.75), calibrated=False, word=ValueWord.SCORE,
        ),
        TaskResult(
            task=Regression(name="share", unit="share"),
            value=math.nan, class_values=(), calibrated=False, word=ValueWord.VALUE,
        ),
    )  # fmt: skip
    return SlideResult(
        tasks=answers,
        tiles_known=len(GRID) - 1,
        tiles_total=len(GRID),
        unreadable=1,
        complete=True,
        model_name="smear-mecds",
        model_digest="beef",
        slide_name="a.svs",
        slide_fingerprint="f00d",
        heatmaps={(h.task, h.kind): h for h in (known, other)},
        selected={task: values > 1},
    )


def test_json_says_which_classes_remain_possible(tmp_path: Path) -> None:
    plain = _result()
    possible = PossibleClasses(names=("absent", "present"), coverage=0.9)
    given = replace(plain, tasks=(replace(plain.tasks[0], possible=possible), *plain.tasks[1:]))
    written = write_predictions(tmp_path / "predictions.json", given, _provenance())["tasks"]
    assert written["basophils"]["possible"]["classes"] == ["absent", "present"]
    assert (written["basophils"]["possible"]["coverage"], written["basophils"]["possible"]["decided"]) == (0.9, False)
    assert "not for a single patient" in written["basophils"]["possible"]["promise"]
    assert "possible" not in write_predictions(tmp_path / "b.json", plain, _provenance())["tasks"]["basophils"]


def test_heatmap_tiff_opens_with_its_values_and_its_physical_size(tmp_path: Path) -> None:
    heatmap = _result().heatmaps["basophils", HeatmapKind.ROUTING]
    write_heatmap(tmp_path / "map.ome.tif", heatmap, _provenance())

    with tifffile.TiffFile(tmp_path / "map.ome.tif") as file:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        np.testing.assert_array_equal(file.asarray(), heatmap.values)
        assert "Research use only" in file.ome_metadata
        assert "f00d" in file.ome_metadata
    assert pixels["PhysicalSizeX"] == pytest.approx(GRID.side * 0.5)
    assert pixels["PhysicalSizeY"] == pytest.approx(GRID.side * 0.25)
    assert pixels["PhysicalSizeXUnit"] == "µm"


def test_tile_table_has_a_row_per_known_tile_at_its_place(tmp_path: Path) -> None:
    columns = tile_columns(_result())
    write_tile_table(tmp_path / "tiles.csv", columns, _provenance())

    with (tmp_path / "tiles.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(GRID) - 1
    row = rows[-1]
    assert (int(row["y_px"]), int(row["x_px"])) == GRID.corner(int(row["tile"]))
    y_um, x_um = GRID.centres_um(np.array([int(row["tile"])]))[0]
    assert (float(row["y_um"]), float(row["x_um"])) == pytest.approx((y_um, x_um), abs=1e-3)
    assert np.float32(row["basophils: routing"]) == _result().heatmaps["basophils", HeatmapKind.ROUTING].values[-1, -1]
    assert row["share: prediction"] == ""
    assert row["basophils: selected"] == "1"
    assert row["use"] == "Research use only"


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_of_the_tile_table_is_a_formula(tmp_path: Path, formula: str) -> None:
    columns = tile_columns(_result(task=formula))
    write_tile_table(tmp_path / "tiles.csv", columns, _provenance(slide=formula, model=formula))

    with (tmp_path / "tiles.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    texts = [cell for row in rows for cell in row if not _is_number(cell)]
    assert not [cell for cell in texts if cell.startswith(("=", "+", "-", "@", "\t", "\r", "＝"))]  # noqa: RUF001
    assert f"'{formula}: routing" in rows[0]
    assert rows[1][0] == f"'{formula}"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@given(st.text(max_size=30))
def test_safe_cell_only_ever_adds_one_quote(text: str) -> None:
    assert safe_cell(text) in (text, f"'{text}")
    assert not safe_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_qupath_tiles_are_squares_on_the_slide_with_measurements(tmp_path: Path) -> None:
    columns = tile_columns(_result())
    write_qupath_tiles(tmp_path / "tiles.geojson", columns, _provenance())

    text = (tmp_path / "tiles.geojson").read_text(encoding="utf-8")
    shapes = shapely.from_geojson(text)
    slide = shapely.box(0, 0, GRID.slide_width, GRID.slide_height)
    assert all(shape.is_valid and slide.covers(shape) for shape in shapes.geoms)
    assert len(shapes.geoms) == len(columns.indices)
    collection = json.loads(text)
    feature = collection["features"][0]
    assert collection["type"] == "FeatureCollection"
    assert feature["properties"]["objectType"] == "tile"
    assert feature["properties"]["measurements"]["basophils: routing"] == 0.0
    assert "share: prediction" not in feature["properties"]["measurements"]
    assert collection["mtlpath"]["use"] == "Research use only"
    assert collection["mtlpath"]["slide_fingerprint"] == "f00d"


def test_qupath_square_lies_on_its_tile_in_x_and_y(tmp_path: Path) -> None:
    columns = tile_columns(_result())
    write_qupath_tiles(tmp_path / "tiles.geojson", columns, _provenance())

    features = json.loads((tmp_path / "tiles.geojson").read_text(encoding="utf-8"))["features"]
    position = columns.indices.tolist().index(GRID.index(1, 2))
    outline = shapely.Polygon(features[position]["geometry"]["coordinates"][0])
    assert outline.bounds == (2 * GRID.side, GRID.side, 3 * GRID.side, 2 * GRID.side)


def test_qupath_ids_are_the_same_in_the_next_run(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_qupath_tiles(tmp_path / name, tile_columns(_result()), _provenance())
    first, second = (json.loads((tmp_path / name).read_text())["features"] for name in ("first", "second"))
    assert [feature["id"] for feature in first] == [feature["id"] for feature in second]
    assert len({feature["id"] for feature in first}) == len(first)


def test_predictions_say_what_they_rest_on_and_hold_no_nan(tmp_path: Path) -> None:
    written = write_predictions(tmp_path / "predictions.json", _result(), _provenance())

    assert read_predictions(tmp_path / "predictions.json") == written
    assert written["use"] == "Research use only"
    assert written["tasks"]["basophils"]["score"] == 0.75
    assert written["tasks"]["basophils"]["classes"] == {"absent": 0.25, "present": 0.75}
    assert written["tasks"]["share"]["value"] is None
    assert (written["level"], written["tiles_known"], written["tiles_unreadable"]) == ("slide", len(GRID) - 1, 1)
    assert written["key"] == "f00d|beef|cafe"


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"format": 99}', "[" * 100_000])
def test_a_damaged_predictions_file_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "predictions.json").write_text(content, encoding="utf-8")
    assert read_predictions(tmp_path / "predictions.json") is None


@given(st.text(max_size=400))
def test_safe_name_is_one_plain_path_component(text: str) -> None:
    name = safe_name(text)
    assert 0 < len(name) <= LONGEST
    assert name.isascii()
    assert not set(name) & set('/\\:*?"<>|\0 ')
    assert not name.startswith((".", "-"))
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "text", ["../../x", "/etc/passwd", "C:\\x", "a\0b", "CON", "com1.svs", "x" * 300, "-rf", "$(id)", "a.", ""]
)
def test_names_that_are_no_file_names_get_a_hash(text: str) -> None:
    name = safe_name(text)
    assert name != text
    assert name != safe_name(text + "?")


def test_parameters_that_differ_give_another_digest() -> None:
    assert parameters_digest({"mpp": 0.5}) != parameters_digest({"mpp": 0.25})
