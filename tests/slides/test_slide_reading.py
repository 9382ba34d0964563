"""Reading an open slide: regions, levels, tiles, threads, closing."""

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic import reduced, tissue, write_aperio_like, write_pyramid

from napari_mtlpath.slides.cache import TileCache
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.slide import Slide


@pytest.fixture(scope="module")
def array() -> np.ndarray:
    return tissue(750, 1250)


@pytest.fixture(scope="module")
def lossless(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> Path:
    return write_pyramid(tmp_path_factory.mktemp("slides") / "lossless.tif", array, levels=(1, 4))


@pytest.fixture(scope="module")
def slide(lossless: Path) -> Slide:
    return open_slide(lossless)


def pixels_of_openslide(path: Path, level: int) -> np.ndarray:
    openslide = pytest.importorskip("openslide", reason="the peer openslide-python is not installed")
    with openslide.OpenSlide(path) as peer:
        return np.array(peer.read_region((0, 0), level, peer.level_dimensions[level]))[..., :3]


def test_aperio_pixels_equal_those_of_openslide(cmu_svs: Path) -> None:
    slide = open_slide(cmu_svs)
    ours = slide.read_region(0, 0, slide.height, slide.width)
    assert ours.complete
    np.testing.assert_array_equal(ours.array, pixels_of_openslide(cmu_svs, 0))


@pytest.mark.parametrize("level", range(4))
def test_ndpi_pixels_equal_those_of_openslide(real_data: Path, level: int) -> None:
    path = real_data / "wsi" / "hamamatsu_DAPI.ndpi"
    slide = open_slide(path)
    info = slide.levels[level]
    ours = slide.read_region(0, 0, info.height, info.width, level=level).array
    np.testing.assert_array_equal(ours, pixels_of_openslide(path, level))


@pytest.mark.parametrize("level", range(4))
def test_deflate_levels_equal_those_of_openslide(real_data: Path, level: int) -> None:
    path = real_data / "wsi" / "openslide_boxes.tiff"
    slide = open_slide(path)
    info = slide.levels[level]
    ours = slide.read_region(0, 0, info.height, info.width, level=level).array
    np.testing.assert_array_equal(ours, pixels_of_openslide(path, level))


@pytest.mark.parametrize("name", ["thumbnail", "label", "macro"])
def test_associated_images_equal_those_of_openslide(cmu_svs: Path, name: str) -> None:
    openslide = pytest.importorskip("openslide", reason="the peer openslide-python is not installed")
    with openslide.OpenSlide(cmu_svs) as peer:
        expected = np.array(peer.associated_images[name].convert("RGB"))
    np.testing.assert_array_equal(open_slide(cmu_svs).associated(name), expected)


def test_lossless_pixels_come_back_unchanged(slide: Slide, array: np.ndarray) -> None:
    np.testing.assert_array_equal(slide.read_region(0, 0, *array.shape[:2]).array, array)


def test_levels_halve_down_to_1024_pixels_and_keep_the_stored_ones(slide: Slide) -> None:
    assert [(info.height, info.width, info.stored) for info in slide.levels] == [
        (750, 1250, True),
        (375, 625, False),
        (187, 312, True),
    ]


def test_a_single_level_is_halved_until_it_fits_1024_pixels(tmp_path: Path) -> None:
    array = tissue(1101, 2103)
    slide = open_slide(write_aperio_like(tmp_path / "one.svs", array, levels=(1,), tile=240))
    assert [(info.height, info.width) for info in slide.levels] == [(1101, 2103), (551, 1052), (276, 526)]
    assert [info.downsample for info in slide.levels] == [(1.0, 1.0), (2.0, 2.0), (4.0, 4.0)]


@pytest.mark.parametrize("tile", [256, 240, 272])
@pytest.mark.parametrize("compression", ["deflate", "jpeg"])
def test_synthesised_levels_are_the_area_mean_of_level_0(tmp_path: Path, tile: int, compression: str) -> None:
    array = tissue(1040, 1104)
    slide = open_slide(write_pyramid(tmp_path / "one.tif", array, levels=(1,), tile=tile, compression=compression))
    full = slide.read_region(0, 0, slide.height, slide.width).array
    for level, factor in enumerate((1, 2)):
        info = slide.levels[level]
        ours = slide.read_region(0, 0, info.height, info.width, level=level).array
        error = np.abs(ours.astype(float) - reduced(full, factor)) if factor > 1 else np.zeros(1)
        assert error.mean() < 0.4
        assert error.max() <= (1 if compression == "deflate" else 12)


def test_the_last_pixels_of_a_level_are_not_mixed_with_jpeg_padding(tmp_path: Path) -> None:
    grey = np.full((1283, 1411, 3), 60, np.uint8)  # the last tiles are padded with black
    slide = open_slide(write_aperio_like(tmp_path / "grey.svs", grey, levels=(1,)))
    level_0 = slide.read_region(0, 0, 1283, 1411).array
    level_1 = slide.read_region(0, 0, 642, 706, level=1).array
    assert np.abs(level_1[:, -1].astype(int) - level_0[::2, -1]).max() <= 2
    assert np.abs(level_1[-1].astype(int) - level_0[-1, ::2]).max() <= 2


def test_a_fractional_downsample_is_the_exact_ratio_of_the_sizes(tmp_path: Path) -> None:
    array = tissue(801, 1051)
    slide = open_slide(write_pyramid(tmp_path / "odd.tif", array, levels=(1, 2)))
    info = slide.levels[1]
    assert (info.height, info.width, info.stored) == (400, 525, True)
    assert info.downsample == (801 / 400, 1051 / 525)
    assert info.height * info.downsample[0] == pytest.approx(slide.height)


def test_a_fractional_level_stays_within_a_pixel_of_openslide(tmp_path: Path) -> None:
    openslide = pytest.importorskip("openslide", reason="the peer openslide-python is not installed")
    path = write_aperio_like(tmp_path / "odd.svs", tissue(803, 1051), levels=(1, 4), quality=95)
    slide = open_slide(path)
    level = next(i for i, info in enumerate(slide.levels) if info.stored and i > 0)
    info = slide.levels[level]
    with openslide.OpenSlide(path) as peer:
        theirs = peer.level_downsamples[1]
    far = info.height - 1, info.width - 1
    for place, mine in zip(far, info.downsample, strict=True):
        assert abs(place * mine - place * theirs) < mine


@given(
    y=st.integers(-300, 900),
    x=st.integers(-300, 1500),
    height=st.integers(0, 700),
    width=st.integers(0, 700),
    level=st.integers(0, 2),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_region_is_a_slice_of_its_level(slide: Slide, y: int, x: int, height: int, width: int, level: int) -> None:
    info = slide.levels[level]
    whole = slide.read_region(0, 0, info.height, info.width, level=level).array
    padded = np.full((info.height + 4000, info.width + 4000, 3), 255, np.uint8)
    padded[1000 : 1000 + info.height, 1000 : 1000 + info.width] = whole
    region = slide.read_region(y, x, height, width, level=level).array
    np.testing.assert_array_equal(region, padded[1000 + y : 1000 + y + height, 1000 + x : 1000 + x + width])


@given(y=st.integers(0, 700), x=st.integers(0, 1200), size=st.integers(1, 400), level=st.integers(0, 2))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_lazy_array_holds_the_same_pixels(slide: Slide, y: int, x: int, size: int, level: int) -> None:
    info = slide.levels[level]
    lazy = slide.to_dask(level)
    assert lazy.shape == (info.height, info.width, 3)
    assert lazy.dtype == np.uint8
    y, x = min(y, info.height - 1), min(x, info.width - 1)
    height, width = min(size, info.height - y), min(size, info.width - x)
    computed = lazy[y : y + height, x : x + width].compute(scheduler="sync")
    np.testing.assert_array_equal(computed, slide.read_region(y, x, height, width, level=level).array)


def test_building_the_lazy_array_reads_nothing(lossless: Path) -> None:
    slide = open_slide(lossless)
    names = {slide.to_dask(level).name for level in range(len(slide.levels))}
    assert len(slide.cache) == 0
    assert len(names) == len(slide.levels)
    assert all(slide.fingerprint in name for name in names)


def test_tiles_make_up_their_level(slide: Slide) -> None:
    for level, info in enumerate(slide.levels):
        tile_height, tile_width = slide.tile_shape(level)
        rows, columns = -(-info.height // tile_height), -(-info.width // tile_width)
        tiles = [[slide.load_tile(level, row, column).array for column in range(columns)] for row in range(rows)]
        whole = np.concatenate([np.concatenate(row, axis=1) for row in tiles])
        assert whole.shape == (info.height, info.width, 3)
        np.testing.assert_array_equal(whole, slide.read_region(0, 0, info.height, info.width, level=level).array)


def test_a_tile_outside_the_level_is_an_index_error(slide: Slide) -> None:
    with pytest.raises(IndexError, match="3 x 5 tiles"):
        slide.load_tile(0, 3, 0)


def test_a_loaded_tile_is_in_memory_until_the_slide_closes(lossless: Path) -> None:
    cache = TileCache()
    slide, other = open_slide(lossless, cache=cache), open_slide(lossless, cache=cache)
    for level in range(3):
        assert slide.cached_tile(level, 0, 0) is None
        tile = slide.load_tile(level, 0, 0).array
        np.testing.assert_array_equal(slide.cached_tile(level, 0, 0), tile)
        assert other.cached_tile(level, 0, 0) is not None  # the same content shares its tiles
    slide.close()
    assert slide.closed
    assert cache.nbytes == 0


def test_many_threads_read_the_same_pixels(lossless: Path, array: np.ndarray) -> None:
    slide = open_slide(lossless, cache=TileCache(max_bytes=2**20))  # so small that tiles are evicted all the time
    places = [(y, x) for y in range(0, 450, 90) for x in range(0, 950, 130)] * 3

    def same(place: tuple[int, int]) -> bool:
        y, x = place
        return np.array_equal(slide.read_region(y, x, 300, 300).array, array[y : y + 300, x : x + 300])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(same, places))


def test_closing_while_others_read_is_safe(tmp_path: Path) -> None:
    path = write_aperio_like(tmp_path / "a.svs", tissue(1000, 1000), levels=(1,))
    for _ in range(10):
        slide = open_slide(path)
        started = threading.Barrier(4)

        def read(slide: Slide = slide, started: threading.Barrier = started) -> None:
            started.wait()
            for row in range(4):
                assert slide.load_tile(0, row, 0).array.shape[2] == 3

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        started.wait()
        slide.close()
        for thread in threads:
            thread.join()
        assert slide.unreadable_tiles == 0
        assert slide.cache.nbytes == 0


def test_a_closed_slide_gives_hatched_pixels_and_no_error(lossless: Path) -> None:
    slide = open_slide(lossless)
    slide.close()
    slide.close()
    assert not slide.read_region(0, 0, 300, 300).complete


def test_a_slide_is_not_sent_to_other_processes(slide: Slide) -> None:
    with pytest.raises(TypeError, match="Send its path"):
        pickle.dumps(slide)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_is_told_to_open_its_own(slide: Slide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match="Open it anew"):
        slide.read_region(0, 0, 10, 10)


def test_the_thumbnail_keeps_the_shape_and_the_colours(slide: Slide, array: np.ndarray) -> None:
    thumbnail = slide.thumbnail(400)
    assert thumbnail.shape == (240, 400, 3)
    np.testing.assert_allclose(thumbnail.mean(axis=(0, 1)), array.mean(axis=(0, 1)), atol=1.0)


def test_a_small_slide_is_not_enlarged_for_its_thumbnail(tmp_path: Path) -> None:
    slide = open_slide(write_pyramid(tmp_path / "small.tif", tissue(90, 70), levels=(1,), tile=64))
    assert slide.thumbnail().shape == (90, 70, 3)


def test_a_region_needs_a_size(slide: Slide) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        slide.read_region(0, 0, -1, 5)
