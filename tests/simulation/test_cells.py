"""Cells: labels as they are in the table, and no copy of a cell on both sides of the split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_cells import made_cells, write_archive

from napari_mtlpath.simulation.cells import UNKNOWN, duplicate_groups, load_cells

ARCHIVE = "pbc_wbcatt_trainval_96.zip"


def test_archive_comes_back_with_its_labels(tmp_path: Path):
    cells = made_cells(40)
    read = load_cells(write_archive(tmp_path / "cells.zip", cells))
    order = [read.names.index(name) for name in cells.names]
    assert np.array_equal(read.labels[order], cells.labels)
    assert np.array_equal(read.images[order], cells.images)
    assert np.array_equal(read.in_validation[order], cells.in_validation)


def test_training_copy_of_a_validation_cell_is_dropped(tmp_path: Path):
    cells = made_cells(40)
    train, held_out = np.flatnonzero(~cells.in_validation)[3], np.flatnonzero(cells.in_validation)[2]
    images = cells.images.copy()
    images[train] = images[held_out]
    read = load_cells(write_archive(tmp_path / "cells.zip", replace(cells, images=images)))
    assert read.dropped == 1
    assert cells.names[train] not in read.names
    assert cells.names[held_out] in read.names
    assert not set(read.train().duplicate_groups) & set(read.validation().duplicate_groups)


def test_missing_label_is_unknown(tmp_path: Path):
    read = load_cells(write_archive(tmp_path / "cells.zip", made_cells(20), labels={"granularity": ""}))
    assert (read.column("granularity") == UNKNOWN).all()


def test_label_outside_its_classes_is_refused(tmp_path: Path):
    path = write_archive(tmp_path / "cells.zip", made_cells(20), labels={"cell_size": "huge"})
    with pytest.raises(ValueError, match="'cell_size' has the classes small, big; found 'huge'"):
        load_cells(path)


def test_duplicate_groups_join_equal_pixels_only():
    a, b = np.zeros((4, 4, 3), np.uint8), np.ones((4, 4, 3), np.uint8)
    assert duplicate_groups([a, b, a.copy()]).tolist() == [0, 1, 0]


def test_cells_left_out_are_gone():
    left = made_cells(50).without_types(["Basophil"])
    assert len(left) == 40
    assert not left.is_class("cell_type", "Basophil").any()


def test_real_archive_holds_what_its_description_says(real_data: Path):
    cells = load_cells(real_data / ARCHIVE)
    assert len(cells.train()) + cells.dropped == 6169
    assert len(cells.validation()) == 1030
    assert cells.images.shape[1:] == (96, 96, 3)
    assert not set(cells.train().duplicate_groups) & set(cells.validation().duplicate_groups)
