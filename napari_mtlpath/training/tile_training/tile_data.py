"""Labelled tiles in memory, training side and validation side."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from napari_mtlpath.simulation.cells import UNKNOWN, CellSet, load_cells
from napari_mtlpath.tasks import UNKNOWN_LABEL, Task
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.config.data import CellTiles
from napari_mtlpath.units import Microns, TilePixels


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledTiles:
    """Tiles with labels for some or all tasks.

    Attributes
    ----------
    tiles
        RGB, [tile, y, x, 3].
    labels
        Class index or value per task, NaN where unknown, [tile, task].
    """

    tiles: UInt8[Tensor, "tile y x 3"]
    labels: Float[Tensor, "tile task"]

    def part(self, chosen: slice | Int[Tensor, " part"]) -> "LabelledTiles":
        """Return some of the tiles with their labels."""
        return LabelledTiles(tiles=self.tiles[chosen], labels=self.labels[chosen])


@dataclass(frozen=True, kw_only=True, eq=False)
class TileData:
    """Both sides of a split of labelled tiles.

    Attributes
    ----------
    tasks
        What the columns of the labels mean.
    train, validation
        The two sides; no tile, and no copy of one, is on both.
    spec
        What one tile is.
    averaged
        Tasks over which the summary figures are taken.
    facts
        What the card says about the data.
    """

    tasks: tuple[Task, ...]
    train: LabelledTiles
    validation: LabelledTiles
    spec: TileSpec
    averaged: tuple[str, ...]
    facts: Mapping[str, str | int] = field(default_factory=dict)


def cell_tiles(table: CellTiles, *, folders: tuple[Path, ...] = ()) -> TileData:
    """Return single cells as tiles, with the cell type and the eleven attributes as tasks."""
    cells = load_cells(find_data(table.archive, folders=folders))
    kept = cells.without_types(table.leave_out)
    train, validation = kept.train(), kept.validation()
    left_out = int((~cells.in_validation).sum()) - len(train)
    return TileData(
        tasks=cells.tasks,
        train=_labelled(train),
        validation=_labelled(validation),
        spec=TileSpec(tile_um=Microns(table.tile_um), tile_px=TilePixels(cells.images.shape[1])),
        averaged=tuple(task.name for task in cells.tasks if task.name != "cell_type"),
        facts={
            "data": f"{Path(table.archive).name}: {len(train)} training and {len(validation)} validation cells",
            "left_out": f"{left_out} training cells of type {', '.join(table.leave_out)}"
            if table.leave_out
            else "none",
            "duplicates": f"{cells.dropped} training cells dropped because the same pixels are in validation",
        },
    )


def find_data(name: str, *, folders: tuple[Path, ...] = ()) -> Path:
    """Return the path of a data file or folder: as given, else below `folders`, ``MTLPATH_DATA`` or ``../shared/data``.

    Raises
    ------
    FileNotFoundError
        Naming every place that was looked at.
    """
    named = os.environ.get("MTLPATH_DATA")
    places = [Path(), *folders, *([Path(named)] if named else []), Path("..", "shared", "data")]
    for place in places:
        if (place / name).exists():
            return place / name
    looked = ", ".join(str(place.resolve()) for place in places)
    raise FileNotFoundError(
        f"Expected {name} in one of {looked}; found none. Set MTLPATH_DATA to the folder of the data."
    )


def _labelled(cells: CellSet) -> LabelledTiles:
    labels: NDArray[np.float32] = cells.labels.astype(np.float32)
    labels[cells.labels == UNKNOWN] = UNKNOWN_LABEL
    return LabelledTiles(tiles=torch.from_numpy(cells.images), labels=torch.from_numpy(labels))
