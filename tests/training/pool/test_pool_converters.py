"""Sets as they are published become tasks, and no group is in two parts."""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from made_cells import made_cells, write_archive
from made_pool import pool_config
from PIL import Image

from napari_mtlpath.training.pool.converter import Reading
from napari_mtlpath.training.pool.parts import Part
from napari_mtlpath.training.pool.pictures import PictureFiles, read_tiles, square_around
from napari_mtlpath.training.pool.task_pool import CONVERTERS, read_pool


def reading(folder: Path) -> Reading:
    return Reading(find=lambda name: folder / name, shelf={})


def jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG")
    return buffer.getvalue()


def box(kind: str, *corners: int) -> str:
    names = ("xmin", "ymin", "xmax", "ymax")
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in zip(names, corners, strict=True))
    return f"<object><name>{kind}</name><bndbox>{inner}</bndbox></object>"


def test_every_converter_says_what_its_options_are() -> None:
    assert set(CONVERTERS.names()) == {"bccd", "chula", "folder", "table", "wbcatt"}
    for name in CONVERTERS.names():
        with pytest.raises(ValueError, match="no option 'nothing'"):
            CONVERTERS.load(name).read({"nothing": 1}, reading(Path()))


def test_labels_of_cells_share_their_pictures_and_their_parts(tmp_path: Path) -> None:
    write_archive(tmp_path / "cells.zip", made_cells(200))
    tables = [
        {"name": name, "source": "wbcatt", "options": {"label": name, "archive": "cells.zip"}}
        for name in ("cell_type", "cytoplasm_vacuole")
    ]
    pool = read_pool(pool_config(pool=tables), folders=(tmp_path,))
    first, second = pool.tasks
    assert pool.sets == ("wbcatt",)
    for part in Part:
        assert first.parts[part].pictures is second.parts[part].pictures
        assert first.parts[part].groups == second.parts[part].groups
    assert len(first.parts[Part.TEST]) == int(made_cells(200).in_validation.sum())


def test_a_crop_keeps_the_middle_of_each_cell(tmp_path: Path) -> None:
    write_archive(tmp_path / "cells.zip", made_cells(200))
    kind = CONVERTERS.load("wbcatt")
    whole = kind.read({"archive": "cells.zip"}, reading(tmp_path))
    half = kind.read({"archive": "cells.zip", "crop": 0.5}, reading(tmp_path))
    height, width = whole.pictures[0].shape[:2]
    inner = whole.pictures[7][height // 4 : height // 4 + height // 2, width // 4 : width // 4 + width // 2]
    assert np.array_equal(half.pictures[7], inner)
    assert half.groups == whole.groups
    assert np.array_equal(half.labels, whole.labels)
    with pytest.raises(ValueError, match=r"above 0 and up to 1; found 1\.5"):
        kind.read({"archive": "cells.zip", "crop": 1.5}, reading(tmp_path))


@pytest.mark.parametrize("seed", range(3))
def test_no_group_is_in_two_parts(tmp_path: Path, seed: int) -> None:
    rows = [(f"{n}.png", "ab"[n % 2], f"patient {n % 11}") for n in range(66)]
    write_table(tmp_path, rows)
    table = {"name": "t", "source": "table", "options": {"path": "labels.csv", "group": "patient"}}
    task = read_pool(pool_config(pool=[table], parts={"seed": seed}), folders=(tmp_path,)).tasks[0]
    sides = [set(task.parts[part].groups) for part in Part]
    assert sum(len(side) for side in sides) == len(set.union(*sides)) == 11
    assert sum(len(task.parts[part]) for part in Part) == 66


def write_table(folder: Path, rows: list[tuple[str, str, str]]) -> None:
    with (folder / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "label", "patient"), *rows])
    for name, _, _ in rows:
        Image.new("RGB", (8, 8), (200, 0, 0)).save(folder / name)


def test_a_table_without_the_column_or_the_picture_is_refused_in_words(tmp_path: Path) -> None:
    write_table(tmp_path, [("1.png", "a", "p"), ("2.png", "b", "q"), ("3.png", "a", "r"), ("4.png", "b", "s")])
    kind = CONVERTERS.load("table")
    with pytest.raises(ValueError, match=r"no column 'klass'\. Its columns: image, label, patient"):
        kind.read({"path": "labels.csv", "label": "klass"}, reading(tmp_path))
    (tmp_path / "2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"names '2.png', not to be found"):
        kind.read({"path": "labels.csv"}, reading(tmp_path))


def test_a_folders_pattern_that_fits_no_name_is_refused(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/3.png", "b/4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    made = CONVERTERS.load("folder").read({"path": "."}, reading(tmp_path))
    assert made.classes == ("a", "b")
    assert made.labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match=r"of 'group' is not in the file name '1\.png'"):
        CONVERTERS.load("folder").read({"path": ".", "group": r"p\d"}, reading(tmp_path))


def bccd_archive(folder: Path) -> None:
    with zipfile.ZipFile(folder / "bccd.zip", "w") as archive:
        labels = ',Image,Category\n,0,NEUTROPHIL\n,1,"NEUTROPHIL, EOSINOPHIL"\n,2,EOSINOPHIL\n'
        archive.writestr("wbc_type_labels.csv", labels)
        boxes = {
            0: box("RBC", 0, 0, 20, 10) + box("WBC", 10, 10, 40, 40) + box("RBC", 5, 5, 5, 30),
            1: box("WBC", 10, 10, 40, 40) + box("WBC", 0, 0, 30, 30),
            2: box("WBC", 20, 5, 60, 45) + box("Platelets", 50, 30, 62, 44),
        }
        for number, text in boxes.items():
            archive.writestr(f"JPEGImages/BloodImage_{number:05d}.jpg", jpeg((100 * number, 0, 0)))
            archive.writestr(f"Annotations/BloodImage_{number:05d}.xml", f"<annotation>{text}</annotation>")


def test_bccd_cuts_squares_around_boxes_and_leaves_out_boxes_without_area(tmp_path: Path) -> None:
    bccd_archive(tmp_path)
    options = {"archive": "bccd.zip", "least": 1, "margin": 0.0}
    made = CONVERTERS.load("bccd").read(options, reading(tmp_path))
    assert made.classes == ("RBC", "WBC", "Platelets")
    assert np.bincount(made.labels).tolist() == [1, 4, 1]
    sides = [made.pictures[item].shape[:2] for item in made.items]
    assert sides[0] == (20, 20)  # the longer side of its box
    assert made.groups[0] == "BloodImage_00000"


def test_bccd_types_only_fields_with_one_white_cell_and_one_type(tmp_path: Path) -> None:
    bccd_archive(tmp_path)
    options = {"archive": "bccd.zip", "least": 1, "label": "white_cells"}
    made = CONVERTERS.load("bccd").read(options, reading(tmp_path))
    assert made.classes == ("NEUTROPHIL", "EOSINOPHIL")
    assert made.groups == ("BloodImage_00000", "BloodImage_00002")


def test_chula_cuts_labelled_points_and_leaves_out_those_without_a_kind(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "chula.zip", "w") as archive:
        archive.writestr("images/1.jpg", jpeg((10, 0, 0)))
        archive.writestr("images/2.jpg", jpeg((200, 0, 0)))
        archive.writestr("labels.csv", "image,x,y,type\n1,30,20,0\n1,2,2,10\n2,60,40,3\n2,10,10,3\n")
    made = CONVERTERS.load("chula").read({"archive": "chula.zip", "least": 1, "side_px": 16}, reading(tmp_path))
    assert made.classes == ("normal cell", "spherocyte")
    assert made.labels.tolist() == [0, 1, 1]
    assert made.groups == ("field-1", "field-2", "field-2")
    assert made.pictures[1].shape == (16, 16, 3)
    assert abs(int(made.pictures[1][..., 0].mean()) - 200) < 5


def test_rare_classes_are_left_out_and_said(tmp_path: Path) -> None:
    write_table(tmp_path, [(f"{n}.png", "aabbc"[n % 5], f"p{n}") for n in range(10)])
    made = CONVERTERS.load("table").read({"path": "labels.csv", "least": 3}, reading(tmp_path))
    assert made.classes == ("a", "b")
    assert "left out: c (2)" in made.facts
    with pytest.raises(ValueError, match="two classes of at least 5 pictures; found a 4, b 4, c 2"):
        CONVERTERS.load("table").read({"path": "labels.csv", "least": 5}, reading(tmp_path))


def test_tiles_are_the_largest_square_of_a_picture() -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    middle = read_tiles((wide,), [0], tile_px=10)
    assert bool((middle == 255).all())
    means = {
        float(read_tiles((wide,), [0], tile_px=10, generator=torch.Generator().manual_seed(seed)).float().mean())
        for seed in range(20)
    }
    assert len(means) > 5  # by chance elsewhere
    assert read_tiles((wide,), [0, 0], tile_px=16).shape == (2, 16, 16, 3)


def test_a_square_at_the_edge_is_moved_inside() -> None:
    image = np.arange(100, dtype=np.uint8).reshape(10, 10, 1).repeat(3, 2)
    assert square_around(image, y=0.0, x=9.6, side=4.0)[0, 0, 0] == 6


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"bad\.png' cannot be read"):
        PictureFiles(paths=(tmp_path / "bad.png",))[0]


def test_the_published_sets_make_the_pool_of_the_demo(real_data: Path) -> None:
    made = CONVERTERS.load("bccd").read({}, reading(real_data))
    assert dict(zip(made.classes, np.bincount(made.labels), strict=True)) == {"RBC": 4153, "WBC": 372, "Platelets": 361}
