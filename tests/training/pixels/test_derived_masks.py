"""Masks derived from colours: right where the truth is drawn, plausible on real cells."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from pixel_worlds import CREAM, RED_CELL, drawn_cells

from napari_mtlpath.training.pixels.derived_masks import CYTOPLASM, NUCLEUS, derive_mask


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_nucleus_and_cytoplasm_are_found_where_they_were_drawn():
    cells, truth = drawn_cells(8)
    for image, mask in zip(cells.images, truth, strict=True):
        found = derive_mask(image)
        assert dice(found == NUCLEUS, mask == NUCLEUS) > 0.85
        assert dice(found == CYTOPLASM, mask == CYTOPLASM) > 0.85


def test_red_cells_and_bare_background_are_background():
    image = np.empty((48, 48, 3), np.uint8)
    image[:] = CREAM
    assert not derive_mask(image).any()
    image[10:30, 10:30] = RED_CELL
    assert not derive_mask(image).any()


def test_of_two_cells_the_central_one_is_taken():
    cells, truth = drawn_cells(1)
    image = cells.images[0].copy()
    image[38:46, 38:46] = (88, 42, 138)
    found = derive_mask(image)
    assert not found[38:46, 38:46].any()
    assert dice(found > 0, truth[0] > 0) > 0.9


def test_turning_a_cell_turns_its_mask():
    image = drawn_cells(1)[0].images[0]
    np.testing.assert_array_equal(derive_mask(np.rot90(image)), np.rot90(derive_mask(image)))


def test_every_real_cell_gets_a_nucleus_in_its_middle(real_data: Path):
    with zipfile.ZipFile(real_data / "pbc_wbcatt_trainval_96.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][::160]
        images = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names]
    masks = np.stack([derive_mask(image) for image in images])
    central = masks[:, 24:72, 24:72] == NUCLEUS
    assert (central.sum((1, 2)) > 100).all()
    assert 0.9 < (central.sum() / (masks == NUCLEUS).sum()) <= 1
