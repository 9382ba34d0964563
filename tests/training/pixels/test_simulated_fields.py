"""Fields of several cells: masks go with their pixels, and labels hold only where their cell is shown."""

import numpy as np
import torch
from pixel_worlds import drawn_cells, pixels_config

from napari_mtlpath.training.pixels.cell_pixels import FIELDS, cell_pixels
from napari_mtlpath.training.pixels.fields import fields_of, laid_down
from napari_mtlpath.training.pixels.pixel_data import LabelledPixels

SIDE = 32


def marked(count: int = 6) -> LabelledPixels:
    """Tiles whose object says by its colour which tile it is of, at a place of its own."""
    tiles = torch.zeros(count, SIDE, SIDE, 3, dtype=torch.uint8)
    for number in range(count):
        tiles[number, 12:20, 10 + number : 18 + number] = number + 1
    return LabelledPixels(
        tiles=tiles,
        pixels={"object": (tiles[..., 0] > 0).byte(), "value": tiles[..., 1].float()},
        labels=torch.arange(count).float().unsqueeze(1),
        groups=tuple(map(str, range(count))),
    )


def windows(repeats: int = 40) -> tuple[LabelledPixels, LabelledPixels]:
    tiles = marked()
    chosen = torch.arange(len(tiles)).repeat(repeats)
    return tiles, fields_of(tiles, chosen, torch.Generator().manual_seed(0))


def test_masks_and_values_are_cut_like_the_pixels():
    _, shown = windows()
    assert torch.equal(shown.pixels["object"] > 0, shown.tiles[..., 0] > 0)
    assert torch.equal(shown.pixels["value"], shown.tiles[..., 1].float())


def test_some_windows_show_several_objects_and_some_are_off_the_middle():
    _, shown = windows()
    objects = [len(torch.unique(tile[tile > 0])) for tile in shown.tiles[..., 0]]
    assert max(objects) >= 3
    assert any(not shown.pixels["object"][number, 12:20, 12:20].any() for number in range(len(shown)))


def test_a_label_holds_only_where_its_own_object_is_shown_almost_alone():
    tiles, shown = windows()
    known = ~shown.labels[:, 0].isnan()
    assert 0.05 < known.float().mean() < 0.9
    for number in range(len(shown)):
        own = tiles.tiles[0, 12:20, 10:18, 0].numel()
        colours = shown.tiles[number, ..., 0]
        chosen = number % len(tiles) + 1
        mine, all_shown = int((colours == chosen).sum()), int((colours > 0).sum())
        if known[number]:
            assert shown.labels[number, 0] == chosen - 1
            assert mine >= 0.8 * own
            assert mine >= 0.8 * all_shown


def test_the_same_generator_gives_the_same_fields():
    first, second = windows()[1], windows()[1]
    assert torch.equal(first.tiles, second.tiles)


def test_laying_down_moves_masks_like_pixels():
    tiles = torch.randint(0, 256, (16, 8, 8, 3), dtype=torch.uint8)
    turns = torch.arange(16) % 8
    assert torch.equal(laid_down(tiles, turns)[..., 0], laid_down(tiles[..., 0], turns))
    assert len({laid_down(tiles[:1].repeat(8, 1, 1, 1), torch.arange(8))[i].numpy().tobytes() for i in range(8)}) == 8


def test_cells_become_parts_without_a_cell_on_two_sides():
    cells, _ = drawn_cells(40)
    table = pixels_config().data.model_copy(update={"split_seed": 3})
    data = cell_pixels(table, cells)
    again = cell_pixels(table, cells)
    sides = [set(data.train.groups), set(data.selection.groups), set(data.tests[""].groups)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 40
    assert data.train.groups == again.train.groups
    assert len(data.tests[""]) == len(data.tests[FIELDS]) == 20
    assert torch.equal(data.tests[FIELDS].tiles, again.tests[FIELDS].tiles)
    assert set(data.train.labels[:, 0].tolist()) == {0.0, 1.0}
    assert "derived, not annotated" in data.masks
    assert np.isnan(data.tests[FIELDS].labels.numpy()).any()


def test_without_fields_there_is_one_test_part_and_fewer_cells_can_be_learned_from():
    cells, _ = drawn_cells(40)
    table = pixels_config().data.model_copy(update={"fields": 0.0, "training_cells": 5})
    data = cell_pixels(table, cells)
    assert (list(data.tests), len(data.train)) == ([""], 5)
