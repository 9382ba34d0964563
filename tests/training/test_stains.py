"""Stain separation: colours made from known amounts are told apart, and no crop is on both sides."""

import numpy as np
import pytest
from skimage.color import rgb_from_hed

from napari_mtlpath.training.config.data import StainedTiles
from napari_mtlpath.training.stains.stained_tiles import random_tiles, spatial_sides, stained_tiles, tile_fields
from napari_mtlpath.training.stains.stains import STAIN_TASKS, Stain, StainedImage, stained_image, unmixed

SIDE = 64
HAEMATOXYLIN, EOSIN, DAB = rgb_from_hed


def section(stain: Stain, second: np.ndarray) -> StainedImage:
    """Three bands of 40 columns, all faintly stained: plain, haematoxylin, the second stain."""
    density = np.full((200, 120, 3), 0.05)
    density[:, 40:80] += 0.9 * HAEMATOXYLIN
    density[:, 80:] += 0.9 * second
    density[:, :40] += 0.2 * HAEMATOXYLIN + 0.2 * second
    return stained_image("made", np.round(255 * 10**-density).astype(np.uint8), stain)


def test_unmixing_recovers_known_amounts():
    amounts = np.random.default_rng(0).random((5, 7, 2))
    stains = np.stack([HAEMATOXYLIN, DAB])
    assert unmixed(amounts @ stains, stains) == pytest.approx(amounts)


@pytest.mark.parametrize(
    ("stain", "second", "task"), [(Stain.HAEMATOXYLIN_DAB, DAB, "dab"), (Stain.HAEMATOXYLIN_EOSIN, EOSIN, "eosin")]
)
def test_stains_are_found_where_they_were_put(stain: Stain, second: np.ndarray, task: str):
    masks = section(stain, second).masks
    assert masks["nuclei"][:, 45:75].all()
    assert masks[task][:, 85:].all()
    assert not any(mask[:, :35].any() for mask in masks.values())
    absent = ({"dab", "eosin"} - {task}).pop()
    assert not masks[absent].any()


def test_no_pixel_is_on_both_sides():
    whole = section(Stain.HAEMATOXYLIN_EOSIN, EOSIN)
    sides = spatial_sides([whole], gap_px=SIDE)
    heights = [side[0].pixels.shape[0] for side in (sides.train, sides.validation)]
    assert sum(heights) == whole.pixels.shape[0] - SIDE


def test_labels_of_a_tile_are_its_shares():
    whole = section(Stain.HAEMATOXYLIN_EOSIN, EOSIN)
    (field,) = tile_fields(whole, side=40, offsets=[(0, 0)])
    assert (field.rows, field.columns) == (5, 3)
    nuclei = [task.name for task in STAIN_TASKS].index("nuclei")
    assert field.labels[:, nuclei].reshape(5, 3)[2] == pytest.approx([0, 1, 0], abs=0.06)


def test_random_tiles_are_reproducible_and_seldom_bare():
    whole = section(Stain.HAEMATOXYLIN_EOSIN, EOSIN)
    first, second = (random_tiles([whole], count=40, side=16, seed=3) for _ in range(2))
    assert np.array_equal(first.tiles.numpy(), second.tiles.numpy())
    assert (first.labels.sum(1) == 0).float().mean() <= 0.2


def test_stained_tiles_have_both_sides():
    data = stained_tiles(
        StainedTiles(source="stains", tiles_per_epoch=40, tile_um=8.0, tile_px=16),
        [section(Stain.HAEMATOXYLIN_EOSIN, EOSIN), section(Stain.HAEMATOXYLIN_DAB, DAB)],
    )
    assert len(data.train.tiles) == 40
    assert len(data.validation.tiles) == 10
    assert data.spec.mpp == pytest.approx(0.5)
