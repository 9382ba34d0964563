"""Loader and views: every tile once per epoch, both sides everywhere, the first view of a negative tile untouched."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mtlpath.training.slide_aware.views import Views, view_side
from napari_mtlpath.training.slide_aware.visits import steps_of, visits
from napari_mtlpath.training.tile_training.augment import Augmentation


@settings(max_examples=40)
@given(st.integers(4, 400), st.integers(4, 400), st.integers(4, 128), st.integers(0, 99))
def test_every_tile_of_both_sides_is_visited_exactly_once_per_epoch(
    negative: int, positive: int, batch: int, seed: int
):
    steps = min(steps_of(negative, positive, batch=batch), min(negative, positive))
    epoch = list(visits(negative, positive, steps=steps, generator=torch.Generator().manual_seed(seed)))
    assert len(epoch) == steps
    assert torch.cat([visit.negative for visit in epoch]).sort().values.tolist() == list(range(negative))
    assert torch.cat([visit.positive for visit in epoch]).sort().values.tolist() == list(range(positive))
    for side in ("negative", "positive"):
        sizes = [len(getattr(visit, side)) for visit in epoch]
        assert max(sizes) - min(sizes) <= 1


def test_epochs_differ_in_order_and_in_their_views_and_the_same_seed_repeats_them():
    first, second, again = (
        list(visits(40, 30, steps=5, generator=torch.Generator().manual_seed(seed))) for seed in (1, 2, 1)
    )
    assert not torch.equal(first[0].negative, second[0].negative)
    assert all(torch.equal(a.positive, b.positive) and a.seed == b.seed for a, b in zip(first, again, strict=True))
    assert len({visit.seed for visit in first}) == 5


def test_the_middle_view_is_the_middle_of_the_tile_pixel_by_pixel():
    tiles = torch.randint(256, (3, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    views = Views(side=12, augmentation=Augmentation(contrast=0.5))
    assert torch.equal(views.middle(tiles), tiles[:, 2:14, 2:14])


def test_random_views_without_augmentation_are_parts_of_their_tile_at_its_own_scale():
    tiles = torch.randint(256, (20, 10, 10, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    cut = Views(side=8, augmentation=Augmentation(dihedral=False)).random(tiles, torch.Generator().manual_seed(1))
    parts = [
        {(y, x) for y in range(3) for x in range(3) if torch.equal(tile[y : y + 8, x : x + 8], view)}
        for tile, view in zip(tiles, cut, strict=True)
    ]
    assert all(parts)
    assert len(set.union(*parts)) > 4  # not always the same place


@pytest.mark.parametrize(("share", "expected"), [(1.0, 96), (0.875, 84), (0.001, 2), (0.83, 80)])
def test_views_are_cut_around_a_whole_pixel(share: float, expected: int):
    assert view_side(96, share) == expected
