"""The regions of a segmentation as polygons for QuPath."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.files import replacing
from napari_mtlpath.inference.export.mask_bands import MaskBands
from napari_mtlpath.inference.export.provenance import Provenance
from napari_mtlpath.inference.export.qupath import NAMESPACE
from napari_mtlpath.inference.pixels.lattice import HALVINGS
from napari_mtlpath.inference.pixels.maps import PixelMaps
from napari_mtlpath.tasks import Segmentation

MOST_PIXELS = 2**26
"""Regions are traced at the finest level that has at most so many pixels: it is held in memory as a whole."""

MOST_REGIONS = 20_000
"""Of a class; the largest ones. QuPath becomes slow beyond, and the mask has them all."""

SMALLEST_REGION = 4
"""Pixels of the level that is traced; anything smaller has no shape."""

COLOURS = ((86, 180, 233), (240, 228, 66), (0, 176, 124), (255, 127, 42), (207, 232, 255), (176, 139, 0))
"""Of the classes after the background, as on screen."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """One connected region.

    Attributes
    ----------
    number
        Its class.
    rings
        Closed outlines [point, (y, x)] in pixels of the level, edges at whole numbers: the outer one, then holes.
    pixels
        Its area in pixels of the level.
    """

    number: int
    rings: tuple[NDArray[np.float64], ...]
    pixels: int


def level_to_trace(maps: PixelMaps) -> int:
    """Return the finest level whose whole plane may be held in memory."""
    height, width = maps.lattice.shape
    return next((level for level in range(HALVINGS) if (height >> level) * (width >> level) <= MOST_PIXELS), HALVINGS)


def write_contours(path: Path, maps: PixelMaps, provenance: Provenance) -> None:
    """Write the regions of all segmentations as a GeoJSON FeatureCollection of annotations in level-0 pixels.

    The extra member ``mtlpath`` carries the provenance, the size of the pixels that were traced, and how many smaller
    regions were left out of each class.
    """
    level = level_to_trace(maps)
    left_out: dict[str, int] = {}
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        written = 0
        for task in maps.planes.segmentations:
            labels = MaskBands(maps, maps.planes.labels(task.name), level=level).labels()
            for region in regions_of(labels, len(task.classes), left_out=(task, left_out)):
                feature = _feature(region, task, maps, level=level, key=f"{provenance.key}|{task.name}|{written}")
                file.write(("," if written else "") + "\n" + json.dumps(feature, ensure_ascii=False, allow_nan=False))
                written += 1
        traced = maps.lattice.pixel_um[0] * 2**level
        head = {"level": 0, "unit": "pixel", "traced_at_um": traced, "left_out": left_out, **provenance.as_dict()}
        file.write(f'\n], "mtlpath": {json.dumps(head, ensure_ascii=False)}}}\n')


def regions_of(
    labels: NDArray[np.uint8], classes: int, *, left_out: tuple[Segmentation, dict[str, int]] | None = None
) -> Iterator[Region]:
    """Yield the connected regions of a mask [y, x], class by class, largest first.

    Pixels belong together that share an edge. The background, class 0, has none.

    Parameters
    ----------
    labels
        Class numbers; others are nothing.
    classes
        Number of classes, the background included.
    left_out
        A task, and where to note by ``task: class`` how many regions are not among them.
    """
    from skimage.measure import label, regionprops

    for number in range(1, classes):
        found = regionprops(label(labels == number, connectivity=1))
        kept = sorted((one for one in found if one.area >= SMALLEST_REGION), key=lambda one: (-one.area, one.label))
        if left_out is not None:
            task, noted = left_out
            noted[f"{task.name}: {task.classes[number]}"] = len(found) - min(len(kept), MOST_REGIONS)
        for one in kept[:MOST_REGIONS]:
            yield Region(number=number, rings=_rings(one.image, one.bbox[:2]), pixels=int(one.area))


def _rings(image: NDArray[np.bool_], corner: tuple[int, int]) -> tuple[NDArray[np.float64], ...]:
    """Trace a connected region: its outline first, its holes after it."""
    from skimage.measure import find_contours

    found = find_contours(np.pad(image, 1).astype(np.float32), 0.5, fully_connected="low")
    # The padding moved pixel centres by one; an edge lies half a pixel before its centre.
    rings = [ring + np.array(corner) - 1 + 0.5 for ring in found]
    return tuple(sorted(rings, key=lambda ring: -float(np.ptp(ring, axis=0).prod())))


def _feature(region: Region, task: Segmentation, maps: PixelMaps, *, level: int, key: str) -> dict[str, Any]:
    from shapely.geometry import Polygon, mapping

    size = maps.lattice.step * 2**level
    outer, *holes = ([(x * size, y * size) for y, x in ring.tolist()] for ring in region.rings)
    shape = Polygon(outer, holes).simplify(size / 4, preserve_topology=True)
    area = region.pixels * maps.lattice.pixel_mm2 * 4**level * 1e6
    name = task.classes[region.number]
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(NAMESPACE, key)),
        "geometry": mapping(shape),
        "properties": {
            "objectType": "annotation",
            "name": name,
            "classification": {"name": name, "color": list(COLOURS[(region.number - 1) % len(COLOURS)])},
            "measurements": {"Area um^2": round(area, 3)},
        },
    }
