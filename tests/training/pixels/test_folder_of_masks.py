"""A folder of one's own tiles and masks: read whole, split by groups, and every fault said at once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_mtlpath.tables.problems import TableError
from napari_mtlpath.training.config.pixels import FolderPixels
from napari_mtlpath.training.pixels.folder_pixels import folder_pixels

TASKS = [
    {"name": "gland", "classes": ["background", "gland"]},
    {"name": "density", "kind": "pixel_regression", "high": 2.0},
    {"name": "grade", "kind": "classification", "classes": ["low", "high"]},
    {"name": "share", "kind": "regression"},
]


def table(**changes: object) -> FolderPixels:
    values = {"source": "folder", "folder": "mine", "tile_um": 16.0, "tasks": TASKS, "masks": "drawn by two readers"}
    return FolderPixels.model_validate(values | changes)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    random = np.random.default_rng(0)
    for part in ("tiles", "masks/gland", "masks/density"):
        (folder / part).mkdir(parents=True)
    rows = ["TILE,GROUP,grade,share"]
    for number in range(12):
        name = f"tile-{number}.png"
        Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / "tiles" / name)
        mask = np.full((32, 32), number % 2, np.uint8)
        mask[0] = 255
        if number != 3:
            Image.fromarray(mask).save(folder / "masks/gland" / name)
        np.save(folder / "masks/density" / f"tile-{number}.npy", np.full((32, 32), number / 10, np.float32))
        rows.append(f"{name},patient-{number // 2},{'high' if number % 2 else 'low'},{'' if number == 5 else 0.5}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_tiles_masks_and_labels_come_together(mine: Path):
    data = folder_pixels(table(), mine)
    parts = (data.train, data.selection, data.tests[""])
    assert sum(map(len, parts)) == 12
    assert not set(data.train.groups) & set(data.tests[""].groups)
    for part in parts:
        for row in range(len(part)):
            number = int(part.pixels["density"][row, 5, 5] * 10 + 0.5)
            expected = 255 if number == 3 else number % 2
            assert part.pixels["gland"][row, 5, 5] == expected
            assert part.pixels["gland"][row, 0, 0] == 255
            assert part.labels[row, 0] == number % 2
            assert torch.isnan(part.labels[row, 1]) == (number == 5)
    assert [task.name for task in data.tile_tasks] == ["grade", "share"]
    assert [task.name for task in data.pixel_tasks] == ["gland", "density"]
    assert data.masks == "drawn by two readers"
    assert data.spec.tile_px == 32


def test_some_of_the_tasks_can_be_chosen(mine: Path):
    data = folder_pixels(table(), mine).only(["share", "gland"])
    assert [task.name for task in data.tasks] == ["gland", "share"]
    assert list(data.train.pixels) == ["gland"]
    assert data.train.labels.shape[1] == 1
    with pytest.raises(ValueError, match=r"no task 'glands'. Did you mean 'gland'\?"):
        data.only(["glands"])


def test_a_split_in_the_table_is_kept(mine: Path):
    lines = (mine / "labels.csv").read_text().splitlines()
    sides = ["SPLIT"] + [("train", "train", "selection", "test")[number // 2 % 4] for number in range(12)]
    (mine / "labels.csv").write_text("\n".join(f"{a},{b}" for a, b in zip(lines, sides, strict=True)))
    data = folder_pixels(table(), mine)
    assert set(data.tests[""].groups) == {"patient-3"}
    assert set(data.selection.groups) == {"patient-2"}
    (mine / "labels.csv").write_text("\n".join(f"{a},{b}" for a, b in zip(lines, [*sides[:-1], "tst"], strict=True)))
    with pytest.raises(TableError, match=r"more than one side(.|\n)*'tst' is none of train, selection, test"):
        folder_pixels(table(), mine)


def test_everything_wrong_is_said_at_once(mine: Path):
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(mine / "tiles/tile-4.png")
    (mine / "tiles/tile-5.png").write_bytes(b"no image")
    Image.fromarray(np.full((32, 32), 7, np.uint8)).save(mine / "masks/gland/tile-6.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(mine / "masks/gland/tile-7.png")
    np.save(mine / "masks/density/tile-8.npy", np.zeros((32, 32), np.int64))
    text = (mine / "labels.csv").read_text().replace("tile-9.png", "../tile-9.png").replace(",high,", ",hihg,")
    (mine / "labels.csv").write_text(text)
    with pytest.raises(TableError) as caught:
        folder_pixels(table(), mine)
    for part in (
        "expected 32 pixels as in the first tile; found 16",
        "tiles/tile-5.png cannot be read",
        "tile-6.png: expected class indices 0 to 1, or 255 for unknown; found 7",
        "tile-7.png: expected [32, 32] pixels",
        "tile-8.npy: expected floating numbers; found int64",
        "'../tile-9.png' leads out of the folder",
        "'hihg' is none of the classes 'low', 'high'. Did you mean 'high'?",
    ):
        assert part in str(caught.value)


def test_missing_columns_are_named(mine: Path):
    (mine / "labels.csv").write_text("Tile,grade\na.png,low\n")
    with pytest.raises(TableError, match=r"no column 'TILE'. Did you mean 'Tile'\?(.|\n)*no column 'share'"):
        folder_pixels(table(), mine)


def test_tasks_need_what_their_kind_needs():
    with pytest.raises(ValueError, match="a background and at least one more class"):
        table(tasks=[{"name": "gland"}])
