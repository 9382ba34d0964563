"""A folder of one's own tiles, masks and labels, read and checked whole before anything is learned from it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from napari_mtlpath.tables.feature_files import leads_out
from napari_mtlpath.tables.labels import labels_of
from napari_mtlpath.tables.problems import Problems, nearest
from napari_mtlpath.tables.rules import TableRules
from napari_mtlpath.tables.sheet import Sheet, read_sheet
from napari_mtlpath.tasks import PixelRegression, PixelTask, Segmentation
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.config.pixels import FolderPixels
from napari_mtlpath.training.losses.pixels import UNKNOWN_PIXEL
from napari_mtlpath.training.pixels.pixel_data import LabelledPixels, PixelData, pixel_tasks, tile_tasks
from napari_mtlpath.units import Microns, TilePixels

TABLE = "labels.csv"
TILE, GROUP, SPLIT = "TILE", "GROUP", "SPLIT"
PARTS = ("train", "selection", "test")


def folder_pixels(table: FolderPixels, folder: Path) -> PixelData:
    """Return the tiles of a folder.

    ``labels.csv`` lists the tiles: a column `TILE` with the name of a file below ``tiles/``; `GROUP`, where given, says
    what tiles come from the same patient or slide, which are never on two sides; `SPLIT`, where given, says ``train``,
    ``selection`` or ``test``; and one column per task of whole tiles. Masks lie at ``masks/TASK/NAME.png`` (class
    indices, 255 unknown) or ``masks/TASK/NAME.npy`` (numbers, NaN unknown); a tile without one is unknown for the task.

    Raises
    ------
    TableError
        With everything that is wrong with table, tiles and masks, at once.
    ValueError
        If a part of the split holds no tile.
    """
    problems = Problems()
    sheet = read_sheet(folder / TABLE, problems)
    tasks = tuple(each.task() for each in table.tasks)
    whole = tile_tasks(tasks)
    if sheet is not None:
        for column in (TILE, *(task.name for task in whole)):
            if column not in sheet.columns:
                problems.fault(sheet.file, f"there is no column {column!r}.{nearest(column, sheet.columns)}")
    problems.raise_faults()
    assert sheet is not None  # or a fault was raised
    tiles = _images(sheet, folder, problems)
    pixels = {task.name: _masks(task, sheet, folder, tiles, problems) for task in pixel_tasks(tasks)}
    columns = [labels_of(sheet, task, TableRules(), problems) for task in whole]
    groups, sides = _groups(sheet), _sides(sheet, table, problems)
    problems.raise_faults()
    everything = LabelledPixels(
        tiles=torch.from_numpy(np.stack(tiles)),
        pixels=pixels,
        labels=torch.tensor(columns, dtype=torch.float32).T.reshape(len(tiles), len(whole)),
        groups=groups,
    )
    train, selection, test = (everything.part(torch.from_numpy(np.flatnonzero(sides == part))) for part in PARTS)
    return PixelData(
        tasks=tasks,
        train=train,
        selection=selection,
        tests={"": test},
        spec=TileSpec(tile_um=Microns(table.tile_um), tile_px=TilePixels(tiles[0].shape[0])),
        masks=table.masks,
        facts={
            "data": f"{folder.name}: {len(train)} training, {len(selection)} selection and {len(test)} test tiles",
            "groups": f"{len(set(groups))} groups, each on one side"
            if GROUP in sheet.columns
            else "none stated: tiles of one patient may be on two sides, which flatters the figures",
        },
    )


def _images(sheet: Sheet, folder: Path, problems: Problems) -> list[NDArray[np.uint8]]:
    """Return all tiles; what cannot be read is reported and replaced by a blank one."""
    tiles: list[NDArray[np.uint8]] = []
    for row in range(len(sheet.rows)):
        name = sheet.text(row, TILE)
        report = _reporter(sheet, row, problems)
        image = None if leads_out(name) else _read(folder / "tiles" / name, report)
        if leads_out(name):
            report(f"{name!r} leads out of the folder.")
        if image is not None and (image.ndim != 3 or image.shape[2] != 3 or image.shape[0] != image.shape[1]):
            report(f"expected a square RGB image; found {list(image.shape)}. Cut and convert it first.")
            image = None
        if image is not None and tiles and image.shape != tiles[0].shape:
            report(f"expected {tiles[0].shape[0]} pixels as in the first tile; found {image.shape[0]}.")
            image = None
        if image is not None:
            tiles.append(image)
    if not tiles:
        problems.fault(sheet.file, "lists no tile that can be read.")
    return tiles


def _masks(
    task: PixelTask, sheet: Sheet, folder: Path, tiles: Sequence[NDArray[np.uint8]], problems: Problems
) -> Tensor:
    """Return a task's masks, unknown where a tile has none."""
    classes = isinstance(task, Segmentation)
    found = []
    shape = tiles[0].shape[:2] if tiles else (1, 1)
    for row in range(len(sheet.rows)):
        path = (
            folder / "masks" / task.name / Path(sheet.text(row, TILE)).with_suffix(".png" if classes else ".npy").name
        )
        mask = _read(path, _reporter(sheet, row, problems)) if path.is_file() else None
        if mask is None:
            mask = np.full(shape, UNKNOWN_PIXEL if classes else np.nan)
        if fault := _fault(task, mask, shape):
            _reporter(sheet, row, problems)(f"masks/{task.name}/{path.name}: {fault}")
            continue
        found.append(mask.astype(np.uint8 if classes else np.float32))
    if not found:
        return torch.zeros(0)
    return torch.from_numpy(np.stack(found))


def _fault(task: PixelTask, mask: NDArray, shape: tuple[int, ...]) -> str:
    if mask.shape != shape:
        return f"expected {list(shape)} pixels of one channel as the tiles have; found {list(mask.shape)}."
    if isinstance(task, PixelRegression):
        return "" if np.issubdtype(mask.dtype, np.floating) else f"expected floating numbers; found {mask.dtype}."
    strange = sorted(set(np.unique(mask).tolist()) - {*range(len(task.classes)), UNKNOWN_PIXEL})
    if strange:
        return (
            f"expected class indices 0 to {len(task.classes) - 1}, or {UNKNOWN_PIXEL} for unknown; found {strange[0]}."
        )
    return ""


def _groups(sheet: Sheet) -> tuple[str, ...]:
    column = GROUP if GROUP in sheet.columns else TILE
    return tuple(sheet.text(row, column) or sheet.text(row, TILE) for row in range(len(sheet.rows)))


def _sides(sheet: Sheet, table: FolderPixels, problems: Problems) -> NDArray:
    """Return each tile's part: as the table says, or by chance, whole groups together."""
    groups = np.array(_groups(sheet))
    if SPLIT in sheet.columns:
        said = np.array([sheet.text(row, SPLIT) for row in range(len(sheet.rows))])
        for row in np.flatnonzero(~np.isin(said, PARTS)):
            message = f"{str(said[row])!r} is none of {', '.join(PARTS)}."
            problems.fault(sheet.file, message, row=sheet.numbers[row], column=SPLIT)
        for group in np.unique(groups):
            parts = np.unique(said[groups == group])
            if len(parts) > 1:
                message = f"group {str(group)!r} is on more than one side: {', '.join(parts)}. Keep it on one."
                problems.fault(sheet.file, message, column=SPLIT)
        return said
    names = np.random.default_rng(table.split_seed).permutation(np.unique(groups))
    test = max(1, round(table.test_share * len(names)))
    selection = max(1, round(table.selection_share * (len(names) - test)))
    side = dict.fromkeys(names.tolist(), "train") | dict.fromkeys(names[:test].tolist(), "test")
    side |= dict.fromkeys(names[test : test + selection].tolist(), "selection")
    return np.array([side[group] for group in groups])


def _read(path: Path, report: Callable[[str], None]) -> NDArray | None:
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        with Image.open(path) as image:
            return np.asarray(image)
    except (OSError, ValueError, UnidentifiedImageError) as error:
        report(f"{path.parent.name}/{path.name} cannot be read: {error}.")
        return None


def _reporter(sheet: Sheet, row: int, problems: Problems) -> Callable[[str], None]:
    def report(message: str) -> None:
        problems.fault(sheet.file, message, row=sheet.numbers[row], column=TILE)

    return report
