import numpy as np
import pytest

from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.tiles.tissue import TissueMap, tissue_mask
from napari_mtlpath.units import Microns, SlidePixels, TilePixels


def grid_of(height: int, width: int, side: int) -> TileGrid:
    return TileGrid(
        slide_height=SlidePixels(height),
        slide_width=SlidePixels(width),
        side=SlidePixels(side),
        mpp=(0.5, 0.5),
        spec=TileSpec(tile_um=Microns(side / 2), tile_px=TilePixels(64)),
    )


def glass(height: int = 200, width: int = 300, level: int = 244) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 1.5, size=(height, width, 3))
    return np.clip(level + noise, 0, 255).astype(np.uint8)


def test_stained_square_on_glass_is_found():
    thumbnail = glass()
    thumbnail[40:120, 60:160] = (200, 140, 190)
    mask = tissue_mask(thumbnail)
    assert mask[45:115, 65:155].all()
    assert not mask[130:, :].any()
    assert not mask[:, 170:].any()


@pytest.mark.parametrize("level", [200, 225, 250])
def test_pale_eosin_is_found_on_grey_and_on_white_glass(level):
    thumbnail = glass(level=level)
    thumbnail[40:120, 60:160] = (np.array([0.96, 0.83, 0.90]) * level).astype(np.uint8)
    assert tissue_mask(thumbnail)[45:115, 65:155].mean() > 0.98


def test_glowing_nuclei_on_black_are_found():
    thumbnail = np.random.default_rng(0).poisson(2, size=(200, 300, 3)).astype(np.uint8)
    thumbnail[40:120, 60:160, 2] = 90
    mask = tissue_mask(thumbnail)
    assert mask[45:115, 65:155].all()
    assert mask[130:].mean() < 0.01


def test_field_full_of_cells_keeps_every_tile():
    random = np.random.default_rng(0)
    field = np.empty((192, 192, 3), np.uint8)
    field[:] = (222, 200, 205)
    for y in range(12, 192, 24):
        for x in range(12, 192, 24):
            field[y - 6 : y + 6, x - 6 : x + 6] = (120 + random.integers(20), 80, 160)
    assert TissueMap.for_grid(field, grid_of(1920, 1920, 240)).all()


@pytest.mark.parametrize("level", [255, 240, 0])
def test_slide_without_anything_keeps_every_tile(level):
    empty = np.full((100, 150, 3), level, np.uint8)
    assert TissueMap.for_grid(empty, grid_of(1000, 1500, 100)).all()


def test_slide_all_tissue_keeps_every_tile():
    field = np.full((100, 150, 3), (180, 100, 170), np.uint8)
    assert TissueMap.for_grid(field, grid_of(1000, 1500, 100)).all()


def test_tiles_on_tissue_are_those_with_a_share_of_it():
    thumbnail = glass(100, 150)
    thumbnail[20:40, 30:60] = (170, 90, 160)
    tiles = TissueMap.for_grid(thumbnail, grid_of(1000, 1500, 100))
    expected = np.zeros((10, 15), bool)
    expected[2:4, 3:6] = True
    np.testing.assert_array_equal(tiles, expected)


def test_tiles_smaller_than_a_thumbnail_pixel_follow_it():
    thumbnail = glass(50, 50)
    thumbnail[10:40, 10:40] = (170, 90, 160)
    tiles = TissueMap.for_grid(thumbnail, grid_of(2000, 2000, 10))
    assert tiles[80:120, 80:120].all()
    assert not tiles[:30].any()


def test_thumbnail_that_is_not_rgb_is_refused():
    with pytest.raises(ValueError, match="RGB image"):
        tissue_mask(np.zeros((10, 10), np.uint8))


def share_of(path, side_um: float, mpp=None) -> float:
    slide = open_slide(path, mpp=mpp)
    spec = TileSpec(tile_um=Microns(side_um), tile_px=TilePixels(64))
    grid = TileGrid.for_slide(height=slide.height, width=slide.width, mpp=slide.resolution.mpp, spec=spec)
    share = TissueMap.for_grid(slide.thumbnail(), grid).mean()
    slide.close()
    return float(share)


def test_real_section_is_a_third_tissue(cmu_svs):
    assert 0.30 <= share_of(cmu_svs, 36.0) <= 0.50


def test_real_section_that_fills_its_image_is_mostly_tissue(real_data):
    assert share_of(real_data / "wsi" / "HE_example.tif", 36.0, mpp=0.5) > 0.7


def test_real_fluorescence_on_black_is_found(real_data):
    assert 0.05 <= share_of(real_data / "wsi" / "hamamatsu_DAPI.ndpi", 36.0) <= 0.9


def test_real_immunohistochemistry_is_tissue_all_over():
    data = pytest.importorskip("skimage.data")
    mask = tissue_mask(data.immunohistochemistry())
    assert mask.mean() > 0.6
    assert TissueMap.for_grid(data.immunohistochemistry(), grid_of(512, 512, 64)).mean() > 0.95
