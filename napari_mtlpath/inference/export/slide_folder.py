"""The folder that holds everything exported for one slide, and whether it is finished."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.features.h5 import write_features
from napari_mtlpath.inference.export.heatmap_tiff import write_heatmap
from napari_mtlpath.inference.export.naming import safe_name
from napari_mtlpath.inference.export.outputs import Outputs
from napari_mtlpath.inference.export.predictions import read_predictions, write_predictions
from napari_mtlpath.inference.export.provenance import RESEARCH_USE_ONLY, Provenance
from napari_mtlpath.inference.export.qupath import write_qupath_tiles
from napari_mtlpath.inference.export.tile_table import write_tile_table
from napari_mtlpath.inference.export.tiles import tile_columns
from napari_mtlpath.inference.results import SlideResult
from napari_mtlpath.zoo.model import SlideModel

PREDICTIONS = "predictions.json"
FEATURES = "features"


@dataclass(frozen=True, kw_only=True, eq=False)
class Embeddings:
    """The embeddings that a result rests on: tiles of the grid, ascending [n], and vectors [n, feature]."""

    indices: NDArray[np.int64]
    features: NDArray[np.float32]


def folder_for(root: Path, *, slide: str, fingerprint: str) -> Path:
    """Return the folder of a slide below `root`: its plain name, longer where another slide has that name already.

    Parameters
    ----------
    slide
        The slide's file name; anything in it that is no plain file name is replaced.
    fingerprint
        The slide's identity.
    """
    name = safe_name(Path(slide).stem)
    for candidate in (name, f"{name}-{fingerprint[:12]}"):
        folder = root / candidate
        there = read_predictions(folder / PREDICTIONS)
        # Also on file systems that take upper and lower case for the same: the file says whose folder it is.
        if not folder.exists() or (there is not None and there.get("slide_fingerprint") == fingerprint):
            return folder
        if there is None and not any(folder.iterdir()):
            return folder
    return root / f"{name}-{fingerprint[:12]}"


@runtime_checkable
class Wanted(Protocol):
    """Which files are wanted."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the wanted kinds."""


def finished(folder: Path, *, key: str, outputs: Wanted) -> dict[str, Any] | None:
    """Return the predictions of an earlier run if they hold for `key` and every wanted file is there, else None."""
    there = read_predictions(folder / PREDICTIONS)
    if there is None or there.get("key") != key or not there.get("complete"):
        return None
    files = there.get("files")
    if not isinstance(files, dict) or not set(outputs.wanted) <= set(files):
        return None
    paths = [folder / name for kind in outputs.wanted for name in files[kind]]
    return there if all(path.is_file() for path in paths) else None


def export_slide(
    folder: Path,
    result: SlideResult,
    provenance: Provenance,
    *,
    outputs: Outputs,
    model: SlideModel,
    embeddings: Embeddings,
) -> dict[str, Any]:
    """Write everything wanted of one slide and return what predictions.json says; that file comes last.

    A killed program leaves no predictions.json, or that of before, and each file whole.
    """
    columns = tile_columns(result)
    files: dict[str, list[str]] = {}
    if outputs.tiles:
        write_tile_table(folder / "tiles.csv", columns, provenance)
        files["tiles"] = ["tiles.csv"]
    if outputs.geojson:
        write_qupath_tiles(folder / "tiles.geojson", columns, provenance)
        files["geojson"] = ["tiles.geojson"]
    if outputs.heatmaps:
        files["heatmaps"] = []
        for (task, kind), heatmap in result.heatmaps.items():
            name = f"heatmaps/{safe_name(task)}-{kind.value}.ome.tif"
            write_heatmap(folder / name, heatmap, provenance)
            files["heatmaps"].append(name)
    if outputs.features:
        _write_embeddings(folder.parent / FEATURES / f"{folder.name}.h5", embeddings, result, provenance, model)
        files["features"] = [f"../{FEATURES}/{folder.name}.h5"]
    return write_predictions(folder / PREDICTIONS, result, provenance, files=files)


def _write_embeddings(
    path: Path, embeddings: Embeddings, result: SlideResult, provenance: Provenance, model: SlideModel
) -> None:
    grid = next(iter(result.heatmaps.values())).grid
    write_features(
        path,
        embeddings.features,
        grid.corners_um(embeddings.indices),
        extractor=f"{model.card.encoder}-{model.encoder.digest[:8]}",
        tile_um=grid.spec.tile_um,
        tile_px=grid.spec.tile_px,
        attributes={
            "note": f"{RESEARCH_USE_ONLY}. {provenance.program}",
            "slide_fingerprint": provenance.slide_fingerprint,
        },
    )
