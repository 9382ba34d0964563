"""Augmentation: what is switched off changes nothing, what is on keeps the pixels' kind."""

import torch

from napari_mtlpath.training.tile_training.augment import Augmentation, laid_down

TILES = torch.randint(0, 256, (8, 12, 12, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def test_nothing_switched_on_changes_nothing():
    assert torch.equal(Augmentation(dihedral=False).apply(TILES, generator()), TILES)


def test_dihedral_moves_pixels_and_changes_none():
    changed = Augmentation().apply(TILES, generator())
    assert not torch.equal(changed, TILES)
    assert torch.equal(changed.flatten(1, 2).sort(1).values, TILES.flatten(1, 2).sort(1).values)


def test_the_eight_ways_to_lie_are_all_different():
    image = torch.arange(27.0).view(1, 3, 3, 3).expand(8, -1, -1, -1)
    laid = laid_down(image, torch.arange(8))
    assert len({tuple(each.flatten().tolist()) for each in laid}) == 8


def test_same_generator_gives_the_same_tiles():
    augmentation = Augmentation(rotation=180.0, zoom=0.2, shift=0.1, contrast=0.2, brightness=0.1, tint=0.1)
    first, second = augmentation.apply(TILES, generator()), augmentation.apply(TILES, generator())
    assert torch.equal(first, second)
    assert first.shape == TILES.shape
    assert first.dtype == torch.uint8


def test_brightness_shifts_the_mean_by_no_more_than_it_says():
    grey = torch.full((64, 4, 4, 3), 128, dtype=torch.uint8)
    means = Augmentation(dihedral=False, brightness=0.1).apply(grey, generator()).float().mean((1, 2, 3))
    assert means.max() - means.min() > 10
    assert (means - 128).abs().max() <= 0.1 * 255 + 0.5
