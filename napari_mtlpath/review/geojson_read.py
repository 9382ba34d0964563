"""Annotations from a GeoJSON file, as QuPath and this program write them: regions and tiles with their classes."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry import shape as shapely_shape
from shapely.geometry.base import BaseGeometry

from napari_mtlpath.review.events import Area
from napari_mtlpath.review.regions import area_from

LARGEST_BYTES = 200 * 2**20
MOST_OBJECTS = 100_000
MOST_CORNERS = 3_000_000
OWN_MEMBER = "mtlpath"
"""The member of a file that this program wrote; other readers pass over it (RFC 7946, section 6.1)."""


class GeoJsonError(ValueError):
    """A file is no GeoJSON that can be used; one sentence says why."""


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """One object of a file.

    Attributes
    ----------
    key
        Its identifier; may be empty.
    area
        Its polygons, (y, x) in level-0 pixels.
    label
        Name of its class; empty where it has none.
    is_tile
        Whether it says of itself that it is a tile.
    measurements
        Numbers that it carries.
    """

    key: str
    area: Area
    label: str
    is_tile: bool
    measurements: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class AnnotationFile:
    """What a file says.

    Attributes
    ----------
    name
        Of the file.
    annotations
        Its objects, in order.
    notes
        What was left out and why, one sentence each.
    about
        What this program wrote into the file about slide and task; empty in files of others.
    """

    name: str
    annotations: tuple[Annotation, ...]
    notes: tuple[str, ...]
    about: Mapping[str, Any]


def read_geojson(path: Path) -> AnnotationFile:
    """Read a FeatureCollection, a list of features, or a single feature, in pixels of level 0.

    Raises
    ------
    GeoJsonError
        If the file is none of these, too large, or holds nothing that can be used.
    OSError
        If it cannot be read.
    """
    if path.stat().st_size > LARGEST_BYTES:
        raise GeoJsonError(
            f"{path.name} has {path.stat().st_size / 2**20:.0f} MB; up to {LARGEST_BYTES // 2**20} are read. "
            "Export fewer objects, such as the annotations only."
        )
    content = _parsed(path)
    features = _features(content, path.name)
    if len(features) > MOST_OBJECTS:
        raise GeoJsonError(
            f"{path.name} has {len(features):,} objects; up to {MOST_OBJECTS:,} are read. Export annotations "
            "without cells and detections."
        )
    left_out: Counter[str] = Counter()
    annotations = tuple(_annotations(features, left_out))
    if features and not annotations:
        reasons = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
        raise GeoJsonError(f"{path.name} has no region or tile that can be used: {reasons}.")
    notes = tuple(f"{number} objects of {path.name} were left out: {reason}." for reason, number in left_out.items())
    about = content.get(OWN_MEMBER) if isinstance(content, dict) else None
    return AnnotationFile(
        name=path.name, annotations=annotations, notes=notes, about=about if isinstance(about, dict) else {}
    )


def _parsed(path: Path) -> Any:  # noqa: ANN401 - anything can stand in a file
    def refuse(word: str) -> float:
        raise ValueError(f"the word {word} stands where a number is expected")

    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise GeoJsonError(
            f"{path.name} is no GeoJSON: {reason}. Export it from QuPath with File > Export objects as GeoJSON."
        ) from error


def _features(content: Any, name: str) -> list[Any]:  # noqa: ANN401
    if isinstance(content, dict) and content.get("type") == "FeatureCollection":
        content = content.get("features")
    elif isinstance(content, dict) and content.get("type") == "Feature":
        content = [content]
    if not isinstance(content, list):
        raise GeoJsonError(
            f"{name} is JSON, but not a FeatureCollection, a list of features or a feature. Export it from QuPath with "
            "File > Export objects as GeoJSON."
        )
    return content


def _annotations(features: list[Any], left_out: Counter[str]) -> Iterator[Annotation]:
    corners = 0
    for feature in features:
        geometry = feature.get("geometry") if isinstance(feature, dict) else None
        try:
            drawn = _geometry(geometry)
        except ValueError as error:
            left_out[str(error)] += 1
            continue
        corners += int(shapely.get_num_coordinates(drawn))
        if corners > MOST_CORNERS:
            raise GeoJsonError(f"The regions have more than {MOST_CORNERS:,} corners in all. Simplify them in QuPath.")
        try:
            area = area_from(shapely.transform(drawn, lambda xy: xy[:, ::-1]))
        except ValueError:
            left_out["they have no inside"] += 1
            continue
        yield _annotation(feature, area)


def _geometry(geometry: Any) -> BaseGeometry:  # noqa: ANN401
    """Return a feature's polygons as shapely has them, (x, y); the error's text is why there are none."""
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"they are of the kind {kind!r}, which has no inside" if kind else "they have no geometry")
    try:
        drawn = shapely.force_2d(shapely_shape({"type": kind, "coordinates": geometry.get("coordinates")}))
    except (TypeError, ValueError, IndexError, AttributeError, KeyError, shapely.errors.ShapelyError) as error:
        raise ValueError("their coordinates are not those of a polygon") from error
    if drawn.is_empty or not all(math.isfinite(bound) for bound in drawn.bounds):
        raise ValueError("their coordinates are not those of a polygon")
    return drawn


def _annotation(feature: Mapping[str, Any], area: Area) -> Annotation:
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    kind = properties.get("objectType", properties.get("object_type", ""))
    return Annotation(
        key=str(feature.get("id") or ""),
        area=area,
        label=_class_of(properties.get("classification")),
        is_tile=kind == "tile",
        measurements=_numbers(properties.get("measurements")),
    )


def _class_of(classification: Any) -> str:  # noqa: ANN401
    """Return a class's name; QuPath writes derived classes as a list of names."""
    if isinstance(classification, str):
        return classification.strip()
    if not isinstance(classification, dict):
        return ""
    names = classification.get("names")
    name = classification.get("name", ": ".join(map(str, names)) if isinstance(names, list) else "")
    return str(name).strip() if isinstance(name, str) else ""


def _numbers(measurements: Any) -> dict[str, float]:  # noqa: ANN401
    """Return measurements of either form: an object, or a list of names and values as older QuPaths wrote it."""
    if isinstance(measurements, list):
        pairs = [(each.get("name"), each.get("value")) for each in measurements if isinstance(each, dict)]
    elif isinstance(measurements, dict):
        pairs = list(measurements.items())
    else:
        pairs = []
    return {
        str(name): float(value)
        for name, value in pairs
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
