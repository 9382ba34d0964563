"""Everything exported for one slide that a pixel model analysed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.export.contours import write_contours
from napari_mtlpath.inference.export.mask_tiff import write_mask
from napari_mtlpath.inference.export.naming import safe_name
from napari_mtlpath.inference.export.predictions import write_predictions
from napari_mtlpath.inference.export.provenance import Provenance
from napari_mtlpath.inference.export.slide_folder import PREDICTIONS
from napari_mtlpath.inference.export.tile_table import write_tile_table
from napari_mtlpath.inference.export.tiles import TileColumns
from napari_mtlpath.inference.pixels.maps import PixelMaps
from napari_mtlpath.inference.pixels.summing import class_scores
from napari_mtlpath.inference.results import SlideResult
from napari_mtlpath.tasks import Classification, Segmentation


@dataclass(frozen=True, kw_only=True)
class PixelOutputs:
    """Which files are wanted beside predictions.json.

    Attributes
    ----------
    tiles
        tiles.csv.
    masks
        One pyramidal OME-TIFF per task of pixels.
    geojson
        Contours of the segmentations for QuPath.
    """

    tiles: bool = True
    masks: bool = True
    geojson: bool = True

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the wanted kinds."""
        return tuple(name for name in ("tiles", "masks", "geojson") if getattr(self, name))


def export_pixels(
    folder: Path, result: SlideResult, maps: PixelMaps, provenance: Provenance, *, outputs: PixelOutputs
) -> dict[str, Any]:
    """Write everything wanted of one slide and return what predictions.json says; that file comes last.

    A killed program leaves no predictions.json, or that of before, and each file whole.
    """
    files: dict[str, list[str]] = {}
    if outputs.tiles:
        write_tile_table(folder / "tiles.csv", pixel_columns(maps), provenance)
        files["tiles"] = ["tiles.csv"]
    if outputs.geojson:
        files["geojson"] = ["contours.geojson"] if maps.planes.segmentations else []
        if maps.planes.segmentations:
            write_contours(folder / "contours.geojson", maps, provenance)
    if outputs.masks:
        files["masks"] = []
        for task in maps.planes.pixel_tasks:
            name = f"masks/{safe_name(task.name)}.ome.tif"
            write_mask(folder / name, maps, task, provenance)
            files["masks"].append(name)
    return write_predictions(folder / PREDICTIONS, result, provenance, files=files)


def pixel_columns(maps: PixelMaps) -> TileColumns:
    """Return what is known of each tile: class shares, means, and the answers to tasks of whole tiles."""
    indices = np.flatnonzero(maps.known.ravel()).astype(np.int64)
    values: dict[str, NDArray[np.float64]] = {}
    for task in maps.planes.pixel_tasks:
        if isinstance(task, Segmentation):
            shares = maps.tally.shares(task.name)[indices]
            values |= {f"{task.name}: {name} share": shares[:, place] for place, name in enumerate(task.classes)}
        else:
            values[f"{task.name}: mean"] = maps.tally.means(task.name)[indices]
    for whole in maps.planes.tile_tasks:
        numbers = maps.tally.numbers(whole.name)[indices]
        if isinstance(whole, Classification):
            scores = class_scores(whole, numbers)
            values |= {f"{whole.name}: {name}": scores[:, place] for place, name in enumerate(whole.classes)}
        else:
            values[whole.name] = numbers[:, 0].astype(np.float64)
    return TileColumns(grid=maps.lattice.grid, indices=indices, values=values)
