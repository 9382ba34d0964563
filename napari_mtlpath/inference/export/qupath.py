"""Tiles as QuPath's GeoJSON: one `tile` object per known tile, its values as measurements."""

import json
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from napari_mtlpath.files import replacing
from napari_mtlpath.inference.export.provenance import Provenance
from napari_mtlpath.inference.export.tiles import TileColumns

NAMESPACE = uuid.UUID("6f1d7a52-0f0e-5d0e-9d7f-3d6f5a3c1b10")  # any fixed one: ids stay the same from run to run


def write_qupath_tiles(path: Path, columns: TileColumns, provenance: Provenance) -> None:
    """Write the known tiles as a GeoJSON FeatureCollection in level-0 pixels, origin at the slide's upper left corner.

    QuPath shows the measurements through Measure > Show measurement maps. Unknown values are left out: JSON has no NaN.
    The extra member ``mtlpath`` carries the provenance; GeoJSON readers pass over it (RFC 7946, section 6.1).
    """
    head = json.dumps({"level": 0, "unit": "pixel", **provenance.as_dict()}, ensure_ascii=False)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f'{{"type": "FeatureCollection", "mtlpath": {head}, "features": [')
        for number, feature in enumerate(_features(columns, provenance)):
            file.write(("," if number else "") + "\n" + json.dumps(feature, ensure_ascii=False, allow_nan=False))
        file.write("\n]}\n")


def _features(columns: TileColumns, provenance: Provenance) -> Iterator[dict[str, Any]]:
    names = list(columns.values)
    rows = zip(*(column.tolist() for column in columns.values.values()), strict=True)
    for index, numbers in zip(columns.indices.tolist(), rows, strict=True):
        measurements = {name: value for name, value in zip(names, numbers, strict=True) if math.isfinite(value)}
        yield {
            "type": "Feature",
            "id": str(uuid.uuid5(NAMESPACE, f"{provenance.key}|{index}")),
            "geometry": {"type": "Polygon", "coordinates": [_square(columns, index)]},
            "properties": {"objectType": "tile", "name": f"tile {index}", "measurements": measurements},
        }


def _square(columns: TileColumns, index: int) -> list[list[int]]:
    """Return the tile's outline as (x, y) corners, cut to the slide, anticlockwise as RFC 7946 asks, and closed."""
    grid = columns.grid
    y0, x0 = grid.corner(index)
    y1, x1 = min(y0 + grid.side, grid.slide_height), min(x0 + grid.side, grid.slide_width)
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
