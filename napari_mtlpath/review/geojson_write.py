"""Labels as GeoJSON that QuPath opens and that this program reads back without loss."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from napari_mtlpath.files import replacing
from napari_mtlpath.review.events import Area
from napari_mtlpath.review.geojson_labels import SLIDE_LABEL, WITHDRAWN
from napari_mtlpath.review.geojson_read import OWN_MEMBER
from napari_mtlpath.review.task_draft import TaskDraft, TaskKind
from napari_mtlpath.review.tile_labels import Labels
from napari_mtlpath.tiles.grid import TileGrid


def write_geojson(
    path: Path, labels: Labels, draft: TaskDraft, grid: TileGrid, *, slide: str, fingerprint: str
) -> None:
    """Write regions as annotations, and single tiles as tiles, in pixels of level 0 from the slide's upper left corner.

    Tiles that have their label from a region are not written: the region says it. Tiles inside a region whose label was
    taken back stand in a member of our own, because QuPath has no word for them.

    Parameters
    ----------
    path
        The file; replaced as a whole.
    labels, draft, grid
        What is known about the slide for the task.
    slide, fingerprint
        Name of the slide's file, and what identifies it.
    """
    about: dict[str, Any] = {
        "about": "Labels made by a person for teaching a model. Research use only.",
        "level": 0,
        "unit": "pixel",
        "slide": slide,
        "slide_fingerprint": fingerprint,
        "task": draft.name,
    }
    if labels.slide is not None:
        about[SLIDE_LABEL] = labels.slide
    if labels.withdrawn:
        about[WITHDRAWN] = [grid.corner(index) for index in labels.withdrawn]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        head = json.dumps(about, ensure_ascii=False)
        file.write(f'{{"type": "FeatureCollection", "{OWN_MEMBER}": {head}, "features": [')
        for number, feature in enumerate(_features(labels, draft, grid)):
            file.write(("," if number else "") + "\n" + json.dumps(feature, ensure_ascii=False, allow_nan=False))
        file.write("\n]}\n")


def _features(labels: Labels, draft: TaskDraft, grid: TileGrid) -> Iterator[dict[str, Any]]:
    for region in labels.regions:
        yield _feature(region.key, _geometry(region.area), region.value, draft, kind="annotation")
    for index, label in labels.tiles.items():
        if label.region:
            continue
        y0, x0 = grid.corner(index)
        y1, x1 = min(y0 + grid.side, grid.slide_height), min(x0 + grid.side, grid.slide_width)
        square = ((((y0, x0), (y0, x1), (y1, x1), (y1, x0)),),)
        yield _feature(f"tile-{index}", _geometry(square), label.value, draft, kind="tile")


def _feature(key: str, geometry: dict[str, Any], value: float, draft: TaskDraft, *, kind: str) -> dict[str, Any]:
    colour = draft.colour(value)
    properties: dict[str, Any] = {
        "objectType": kind,
        "classification": {
            "name": draft.shown if draft.kind is TaskKind.REGRESSION else draft.words(value),
            "color": [int(colour[at : at + 2], 16) for at in (1, 3, 5)],
        },
    }
    if draft.kind is TaskKind.REGRESSION:
        properties["measurements"] = {draft.name: value}
    return {"type": "Feature", "id": key, "geometry": geometry, "properties": properties}


def _geometry(area: Area) -> dict[str, Any]:
    polygons = [[_closed(ring) for ring in polygon] for polygon in area]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _closed(ring: tuple[tuple[float, float], ...]) -> list[list[float]]:
    """Return a ring as closed (x, y) corners, as RFC 7946 asks."""
    return [[x, y] for y, x in (*ring, ring[0])]
