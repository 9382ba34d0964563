"""The real cells at hand as tiles with masks: masks derived from colours, labels as the archive gives them."""

import numpy as np
import torch

from napari_mtlpath.nn.options import nearest
from napari_mtlpath.simulation.cells import UNKNOWN, CellSet
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.config.pixels import CellPixels
from napari_mtlpath.training.pixels.derived_masks import CELL_PARTS, PROVENANCE, derive_mask
from napari_mtlpath.training.pixels.fields import fields_of
from napari_mtlpath.training.pixels.pixel_data import LabelledPixels, PixelData
from napari_mtlpath.units import Microns, TilePixels

FIELDS = "in fields"
"""What is appended to a task's name for figures on simulated fields of several cells."""

TEST_SEED = 20_260
"""Of the test fields: the same for every run."""


def cell_pixels(table: CellPixels, cells: CellSet) -> PixelData:
    """Return cells as tiles: the archive's training cells to learn and select from, its validation cells as test.

    The split into learning and selection is by duplicates: copies of a cell are on one side. Nothing says which
    patient a cell is of. Test and selection are judged both as single cells and as simulated fields.

    Raises
    ------
    ValueError
        If the cells have no task of a name, or there are too few of them.
    """
    known = [task.name for task in cells.tasks]
    if strangers := [name for name in table.tile_tasks if name not in known]:
        hint = nearest(strangers[0], known)
        raise ValueError(f"data.tile_tasks: the cells have no {strangers[0]!r}.{hint} Known: {', '.join(known)}.")
    train, selection = _sides(cells.train(), table)
    parts = {name: _labelled(each, table) for name, each in (("t", train), ("s", selection), ("v", cells.validation()))}
    chance = torch.Generator().manual_seed(TEST_SEED)
    shown = {name: fields_of(parts[name], torch.arange(len(parts[name])), chance) for name in ("s", "v")}
    tests = {"": parts["v"]} | ({FIELDS: shown["v"]} if table.fields else {})
    return PixelData(
        tasks=(CELL_PARTS, *(task for task in cells.tasks if task.name in table.tile_tasks)),
        train=parts["t"],
        selection=parts["s"].joined(shown["s"]) if table.fields else parts["s"],
        tests=tests,
        spec=TileSpec(tile_um=Microns(table.tile_um), tile_px=TilePixels(cells.images.shape[1])),
        fields=table.fields,
        masks=PROVENANCE,
        facts={
            "data": f"{table.archive}: {len(parts['t'])} training, {len(parts['s'])} selection and {len(parts['v'])} "
            "test cells",
            "fields": f"{table.fields:.0%} of the training tiles are windows of simulated fields of up to four cells",
            "split": "by cell, copies on one side; the archive does not say which patient a cell is of",
        },
    )


def _sides(cells: CellSet, table: CellPixels) -> tuple[CellSet, CellSet]:
    random = np.random.default_rng(table.split_seed)
    groups = random.permutation(np.unique(cells.duplicate_groups))
    held = max(1, round(table.selection_share * len(groups)))
    learned = groups[held:][: table.training_cells or None]
    return (
        cells.subset(np.isin(cells.duplicate_groups, learned)),
        cells.subset(np.isin(cells.duplicate_groups, groups[:held])),
    )


def _labelled(cells: CellSet, table: CellPixels) -> LabelledPixels:
    columns = [number for number, task in enumerate(cells.tasks) if task.name in table.tile_tasks]
    codes = cells.labels[:, columns].astype(np.float32)
    codes[codes == UNKNOWN] = np.nan
    masks = np.stack([derive_mask(image) for image in cells.images]) if len(cells) else np.empty((0, 1, 1), np.uint8)
    return LabelledPixels(
        tiles=torch.from_numpy(cells.images),
        pixels={CELL_PARTS.name: torch.from_numpy(masks)},
        labels=torch.from_numpy(codes),
        groups=tuple(map(str, cells.duplicate_groups)),
    )
