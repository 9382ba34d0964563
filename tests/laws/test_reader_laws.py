"""What holds for every reader: a new file in slides/readers is tested when it appears."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from synthetic import tissue, write_aperio_like

from napari_mtlpath.slides.open import READERS, open_slide
from napari_mtlpath.slides.source import Reader, SlideError, SlideSource, TileUnreadable


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("laws")
    return write_aperio_like(folder / "a.svs", tissue(700, 1100), levels=(1, 4), label=True, tile=256)


@pytest.fixture(params=READERS.names())
def reader(request: pytest.FixtureRequest, path: Path) -> type[Reader]:
    found = READERS.load(request.param)
    if not found.can_open(path):
        pytest.skip(f"The reader {request.param!r} does not open Aperio files here (is its library installed?)")
    return found


@pytest.fixture
def source(reader: type[Reader], path: Path) -> SlideSource:
    return reader.open(path)


def tiles(source: SlideSource, level: int, denominator: int = 1) -> np.ndarray:
    stored = source.facts.levels[level]
    rows, columns = -(-stored.height // stored.tile_height), -(-stored.width // stored.tile_width)
    return np.concatenate(
        [
            np.concatenate(
                [source.read_tile(level, row, column, denominator=denominator) for column in range(columns)], 1
            )
            for row in range(rows)
        ]
    )


def test_suffixes_are_lower_case_with_a_dot(reader: type[Reader]) -> None:
    assert reader.suffixes
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in reader.suffixes)


def test_levels_shrink_and_keep_their_ratio(source: SlideSource) -> None:
    levels = source.facts.levels
    assert levels[0].downsample == (1.0, 1.0)
    for finer, coarser in itertools.pairwise(levels):
        assert coarser.height < finer.height
        assert coarser.width < finer.width
    for level in levels:
        assert level.height * level.downsample[0] == pytest.approx(levels[0].height)
        assert level.width * level.downsample[1] == pytest.approx(levels[0].width)


def test_tiles_are_rgb_and_fill_their_level(source: SlideSource) -> None:
    for number, level in enumerate(source.facts.levels):
        pixels = tiles(source, number)
        assert pixels.dtype == np.uint8
        assert pixels.shape == (level.height, level.width, 3)


@pytest.mark.parametrize("denominator", [2, 4, 8])
def test_reduced_tiles_are_near_the_area_mean(source: SlideSource, denominator: int) -> None:
    full, ours = tiles(source, 0).astype(float), tiles(source, 0, denominator)
    rows, columns = np.arange(0, full.shape[0], denominator), np.arange(0, full.shape[1], denominator)
    mean = np.add.reduceat(np.add.reduceat(full, rows, 0), columns, 1)
    count = np.add.reduceat(np.add.reduceat(np.ones(full.shape[:2]), rows, 0), columns, 1)[..., None]
    assert ours.shape == mean.shape
    assert np.abs(ours - mean / count).mean() < 0.6


def test_threads_read_the_same_tiles(source: SlideSource) -> None:
    expected = source.read_tile(0, 0, 0)
    with ThreadPoolExecutor(6) as pool:
        for tile in pool.map(lambda _: source.read_tile(0, 0, 0), range(24)):
            np.testing.assert_array_equal(tile, expected)


@pytest.mark.parametrize("denominator", [1, 4])
def test_a_passing_tile_has_the_pixels_of_one_that_stays(source: SlideSource, denominator: int) -> None:
    stored = source.facts.levels[0]
    rows, columns = -(-stored.height // stored.tile_height), -(-stored.width // stored.tile_width)
    places = list(itertools.product(range(rows), range(columns)))
    staying = [source.read_tile(0, *place, denominator=denominator) for place in places]
    before = [tile.copy() for tile in staying]
    for place, expected in zip(places, before, strict=True):
        np.testing.assert_array_equal(source.read_passing(0, *place, denominator=denominator), expected)
    for tile, expected in zip(staying, before, strict=True):
        np.testing.assert_array_equal(tile, expected)  # what stays is never written over


def test_threads_do_not_write_over_each_others_passing_tiles(source: SlideSource) -> None:
    expected = [source.read_tile(0, 0, column) for column in (0, 1)]

    def differs(number: int) -> bool:
        tile = source.read_passing(0, 0, number % 2)
        return not np.array_equal(tile, expected[number % 2])

    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(differs, range(48)))


def test_a_tile_that_does_not_exist_is_unreadable(source: SlideSource) -> None:
    for row, column in ((0, 10_000), (10_000, 0), (-1, 0)):
        with pytest.raises(TileUnreadable):
            source.read_tile(0, row, column)


def test_the_claimed_pixel_size_is_passed_on(source: SlideSource) -> None:
    assert source.facts.mpp == pytest.approx((0.5, 0.5))
    assert source.facts.mpp_origin


def test_associated_images_have_the_size_that_was_said(source: SlideSource) -> None:
    assert {"label", "macro"} <= set(source.facts.associated)
    for name, size in source.facts.associated.items():
        assert source.read_associated(name).shape == (*size, 3)
    with pytest.raises(KeyError):
        source.read_associated("nothing")


def test_after_closing_tiles_are_unreadable_and_nothing_crashes(source: SlideSource) -> None:
    source.close()
    source.close()
    with pytest.raises(TileUnreadable):
        source.read_tile(0, 0, 0)


def test_what_is_no_slide_is_refused(reader: type[Reader], tmp_path: Path) -> None:
    path = tmp_path / "no.svs"
    path.write_bytes(b"II*\0" + bytes(40))
    assert isinstance(reader.can_open(path), bool)
    with pytest.raises(SlideError):
        reader.open(path)
    assert reader.can_open(tmp_path / "missing.svs") is False


def test_all_readers_show_the_same_pixels(path: Path) -> None:
    shown = []
    for name in READERS.names():
        if READERS.load(name).can_open(path):
            slide = open_slide(path, reader=name)
            shown.append(slide.read_region(0, 0, slide.height, slide.width).array)
    for other in shown[1:]:
        np.testing.assert_array_equal(other, shown[0])
