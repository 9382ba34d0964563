"""Labels to QuPath and back, and what becomes of files that are odd, foreign or broken."""

import json
from pathlib import Path

import pytest

from napari_mtlpath.review.events import (
    Imported,
    LabelEvent,
    Origin,
    RegionDrawn,
    SlideLabelled,
    TilesLabelled,
)
from napari_mtlpath.review.geojson_labels import labels_from
from napari_mtlpath.review.geojson_read import GeoJsonError, read_geojson
from napari_mtlpath.review.geojson_write import write_geojson
from napari_mtlpath.review.regions import area_from, area_of, shape_of
from napari_mtlpath.review.task_draft import TaskDraft, TaskKind
from napari_mtlpath.review.tile_labels import Labels, labels_of
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.spec import TileSpec

GRID = TileGrid.for_slide(height=796, width=1000, mpp=(1.0, 1.0), spec=TileSpec(tile_um=10, tile_px=10))
DRAFT = TaskDraft.made(title="Eosinophils", kind=TaskKind.BINARY)
CELLS = TaskDraft.made(title="Cell", kind=TaskKind.CLASSES, classes=("Blast", "Monocyte", "Other"))
SHARE = TaskDraft.made(title="Share", kind=TaskKind.REGRESSION)


def _labels(*acts: object) -> Labels:
    return labels_of([LabelEvent(slide="s", task="t", act=act) for act in acts], GRID)


def _tiles(*indices: int, value: float | None) -> TilesLabelled:
    return TilesLabelled(
        corners=tuple(GRID.corner(index) for index in indices), side=10, value=value, origin=Origin.TILE
    )


def _read_back(path: Path, draft: TaskDraft) -> Labels:
    return _labels(labels_from(read_geojson(path), draft, GRID, fingerprint="ab").act)


def _feature(
    coordinates: object, label: str | None = "present", *, kind: str = "Polygon", **properties: object
) -> dict:
    given = {"classification": {"name": label}} if label is not None else {}
    return {
        "type": "Feature",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": {"objectType": "annotation", **given, **properties},
    }


SQUARE = [[[0, 0], [40, 0], [40, 20], [0, 20], [0, 0]]]


def _file(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "slide.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("draft", "values"),
    [(DRAFT, (0.0, 1.0)), (CELLS, (2.0, 1.0)), (SHARE, (0.25, 0.75))],
    ids=["two", "three", "number"],
)
def test_labels_are_the_same_after_export_and_import(draft: TaskDraft, values: tuple[float, float], tmp_path) -> None:
    ring = shape_of(area_of([(0, 0), (0, 300), (300, 300), (300, 0)])).difference(
        shape_of(area_of([(100, 100), (100, 200), (200, 200), (200, 100)]))
    )
    before = _labels(
        RegionDrawn(region="r1", area=area_from(ring), value=values[0]),
        RegionDrawn(region="r2", area=area_of([(10.25, 500.5), (90, 600), (100, 480)]), value=values[1]),
        _tiles(0, 4200, value=values[1]),
        _tiles(1, value=None),
        SlideLabelled(value=values[1]),
    )
    path = tmp_path / "labels.geojson"
    write_geojson(path, before, draft, GRID, slide="a.svs", fingerprint="ab")
    after = _read_back(path, draft)
    assert {i: label.value for i, label in after.tiles.items()} == {i: label.value for i, label in before.tiles.items()}
    assert [(region.key, region.value) for region in after.regions] == [("r1", values[0]), ("r2", values[1])]
    for old, new in zip(before.regions, after.regions, strict=True):
        assert shape_of(old.area).equals(shape_of(new.area))
    assert after.slide == values[1]
    assert {label.origin for label in after.tiles.values()} == {Origin.FILE}


def test_a_file_says_x_before_y_as_qupath_does(tmp_path: Path) -> None:
    labels = _read_back(_file(tmp_path, _feature([[[100, 0], [140, 0], [140, 20], [100, 20], [100, 0]]])), DRAFT)
    assert [GRID.row_column(index) for index in labels.tiles] == [(r, c) for r in (0, 1) for c in (10, 11, 12, 13)]


def test_a_tile_at_the_edge_of_the_slide_is_cut_and_still_found(tmp_path: Path) -> None:
    last = len(GRID) - 1
    path = tmp_path / "labels.geojson"
    write_geojson(path, _labels(_tiles(last, value=1.0)), DRAFT, GRID, slide="a.svs", fingerprint="ab")
    square = json.loads(path.read_text())["features"][0]["geometry"]["coordinates"][0]
    assert max(y for _, y in square) == 796
    assert list(_read_back(path, DRAFT).tiles) == [last]


@pytest.mark.parametrize("form", ["collection", "list", "feature"])
def test_every_form_of_geojson_is_read(form: str, tmp_path: Path) -> None:
    feature = _feature(SQUARE)
    content = {"collection": {"type": "FeatureCollection", "features": [feature]}, "list": [feature]}.get(form, feature)
    assert len(_read_back(_file(tmp_path, content), DRAFT).tiles) == 8


def test_older_and_other_spellings_are_understood(tmp_path: Path) -> None:
    features = [
        _feature(SQUARE, "PRESENT"),
        _feature([[[100, 0], [140, 0], [140, 20], [100, 0]]], None, classification={"names": ["eosinophils"]}),
        _feature([[[[300, 0], [340, 0], [340, 20], [300, 20], [300, 0]]]], "Absent", kind="MultiPolygon"),
    ]
    values = {label.value for label in _read_back(_file(tmp_path, features), DRAFT).tiles.values()}
    assert values == {0.0, 1.0}
    listed = _feature(SQUARE, None, measurements=[{"name": "share", "value": 0.5}])
    assert {label.value for label in _read_back(_file(tmp_path, listed), SHARE).tiles.values()} == {0.5}


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    features = [
        _feature(SQUARE),
        _feature(SQUARE, "Stroma"),
        _feature([[0, 0], [5, 5]], kind="LineString"),
        _feature([[[0, 0], [1, 1]]]),
        {"type": "Feature", "geometry": None, "properties": None},
        "nonsense",
    ]
    found = labels_from(read_geojson(_file(tmp_path, features)), DRAFT, GRID)
    assert (found.regions, found.tiles) == (1, 0)
    said = " ".join(found.notes)
    assert "1 objects of the classes 'Stroma' are no answers of this task ('absent', 'present')" in said
    assert "of the kind 'LineString'" in said
    assert "they have no geometry" in said
    assert "not those of a polygon" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is no GeoJSON"),
        ('{"type": "FeatureCollection"', "is no GeoJSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"type": "Topology"}', "not a FeatureCollection"),
        ({"type": "FeatureCollection", "features": 3}, "not a FeatureCollection"),
        (json.dumps(_feature([[[0, 0], [float("nan"), 5], [9, 9], [0, 0]]])), "the word NaN"),
        ([_feature([[["a", 0], [5, 5], [9, 0], ["a", 0]]])], "not those of a polygon"),
        ([_feature([[[0, 0], [5, 5], [9, 9], [0, 0]]])], "no inside"),
        ([_feature(SQUARE, "Stroma")], "holds no label for task 'Eosinophils'"),
        ([], "holds no label"),
        ([_feature([[[0, 0], [9000, 0], [9000, 9000], [0, 0]]])], "lie outside of this slide"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_sentence(content: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(GeoJsonError, match=said):
        labels_from(read_geojson(_file(tmp_path, content)), DRAFT, GRID)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GeoJsonError, match="is no GeoJSON"):
        read_geojson(path)


def test_labels_of_another_slide_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.geojson"
    write_geojson(path, _labels(_tiles(0, value=1.0)), DRAFT, GRID, slide="b.svs", fingerprint="other")
    with pytest.raises(GeoJsonError, match=r"written for slide 'b.svs'"):
        labels_from(read_geojson(path), DRAFT, GRID, fingerprint="ab")


def test_importing_a_file_twice_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "labels.geojson"
    drawn = RegionDrawn(region="r", area=area_of([(0, 0), (0, 300), (300, 0)]), value=0.0)
    write_geojson(path, _labels(drawn, _tiles(5, value=1.0)), DRAFT, GRID, slide="a.svs", fingerprint="ab")
    act = labels_from(read_geojson(path), DRAFT, GRID).act
    assert isinstance(act, Imported)
    once, twice = _labels(act), _labels(act, act)
    assert (twice.tiles, len(twice.regions)) == (once.tiles, 1)
