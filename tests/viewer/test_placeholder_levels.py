"""Levels as napari sees them: pixels at once, right ones soon."""

import copy
import threading

import numpy as np
import pytest
from napari.layers._data_protocols import LayerDataProtocol

from napari_mtlpath.viewer.layers import placeholder_level
from napari_mtlpath.viewer.layers.composition import Box
from napari_mtlpath.viewer.layers.slide_layer import SlideDisplay, slide_layer_data
from napari_mtlpath.viewer.layers.tile_loader import View


@pytest.fixture
def display_of_slide(qapp):
    displays = []

    def make(slide, **options):
        displays.append(SlideDisplay(slide, **({"ring_delay_s": float("inf")} | options)))
        return displays[-1]

    yield make
    for display in displays:
        display.slide.gate.set()
        display.close(timeout=5.0)


def wait_for(condition, seconds=60.0):
    done = threading.Event()
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        done.wait(0.005)
    raise AssertionError("the condition never held")


def test_levels_satisfy_naparis_protocol(display_of_slide, make_slide):
    slide = make_slide()
    for level, info in zip(display_of_slide(slide).levels, slide.levels, strict=True):
        assert isinstance(level, LayerDataProtocol)
        assert level.shape == (info.height, info.width, 3)
        assert level.dtype == np.uint8
        assert level.ndim == 3


def test_a_slice_comes_while_no_tile_can_be_read(display_of_slide, make_slide):
    slide = make_slide()
    slide.gate.clear()
    pixels = display_of_slide(slide).levels[0][100:900, 200:1200]
    assert pixels.shape == (800, 1000, 3)
    assert slide.loads == []
    assert pixels.min() > 0


def test_a_slice_shows_the_slide_once_its_tiles_have_come(display_of_slide, make_slide):
    slide = make_slide()
    display = display_of_slide(slide)
    display.levels[1][300:900, 400:1300]
    wait_for(lambda: not display.loader.busy)
    np.testing.assert_array_equal(display.levels[1][300:900, 400:1300], slide.pixels(1)[300:900, 400:1300])


@pytest.mark.parametrize("coarse", [1, 2, 3, 4])
def test_stand_ins_lie_where_the_sharp_pixels_will_be(display_of_slide, make_slide, coarse):
    """Every stand-in pixel is the coarse pixel that covers it."""
    slide = make_slide(height=4001, width=5003)  # no multiples of tiles or steps
    display = display_of_slide(slide)
    wait_for(lambda: not display.loader.busy)
    slide.cache.drop(slide.fingerprint)
    info = slide.levels[coarse]
    for row in range(-(-info.height // 256)):
        for column in range(-(-info.width // 256)):
            slide.load_tile(coarse, row, column)
    slide.gate.clear()
    got = display.levels[0][1000:1600, 1500:2300]
    y = ((np.arange(1000, 1600) + 0.5) * info.height / slide.height).astype(int)
    x = ((np.arange(1500, 2300) + 0.5) * info.width / slide.width).astype(int)
    np.testing.assert_array_equal(got, slide.pixels(coarse)[y[:, None], x[None]])


def test_the_nearest_coarser_tile_stands_in(display_of_slide, make_slide):
    slide = make_slide()
    display = display_of_slide(slide)
    wait_for(lambda: not display.loader.busy)
    slide.load_tile(2, 1, 1)  # covers level-0 rows and columns 1024 to 2048
    slide.gate.clear()
    got = display.levels[0][1024:2048, 1024:2048]
    index = np.arange(1024, 2048) // 4
    np.testing.assert_array_equal(got, slide.pixels(2)[index[:, None], index[None]])


def test_asarray_reads_the_real_pixels(display_of_slide, make_slide):
    slide = make_slide(height=1000, width=1500, levels=3)
    np.testing.assert_array_equal(np.asarray(display_of_slide(slide).levels[0]), slide.pixels(0))


def test_asarray_of_a_huge_level_is_refused_with_advice(display_of_slide, make_slide):
    slide = make_slide(height=100_000, width=100_000, levels=9)
    with pytest.raises(MemoryError, match=r"layer\.metadata\['dask'\]\[0\]"):
        np.asarray(display_of_slide(slide).levels[0])


def test_a_slice_of_a_huge_level_costs_neither_memory_nor_reads(display_of_slide, make_slide):
    slide = make_slide(height=100_000, width=100_000, levels=9)
    display = display_of_slide(slide)
    wait_for(lambda: not display.loader.busy)
    reads = len(slide.loads)
    blank = display.levels[0][:, :]
    assert blank.shape == (100_000, 100_000, 3)
    assert blank.base is not None
    assert not display.loader.busy
    assert len(slide.loads) == reads


@pytest.mark.parametrize(
    "key",
    [
        np.s_[10],
        np.s_[10:50],
        np.s_[-5:, 3:-3],
        np.s_[5:400:7, 300:20:-3],
        np.s_[..., 1],
        np.s_[7, 9],
        np.s_[7, 9, 2],
        np.s_[[1, 5, 9]],
        np.s_[[1, 5, 9], [2, 4, 8]],
        np.s_[3:9, [2, 4, 700], 0],
        np.s_[:, 20:20],
    ],
)
def test_indexing_means_what_it_means_for_numpy(display_of_slide, make_slide, key):
    slide = make_slide(height=600, width=900, levels=2)
    display = display_of_slide(slide)
    display.levels[0][:, :]
    wait_for(lambda: not display.loader.busy)
    np.testing.assert_array_equal(display.levels[0][key], slide.pixels(0)[key])


def test_indices_outside_are_refused_as_by_numpy(display_of_slide, make_slide):
    with pytest.raises(IndexError, match="0 to 599"):
        display_of_slide(make_slide(height=600, width=900, levels=2)).levels[0][600]


def test_the_centre_of_the_view_is_read_first(display_of_slide, make_slide):
    slide = make_slide(height=8192, width=8192, levels=5)
    display = display_of_slide(slide, readers=1)
    wait_for(lambda: not display.loader.busy)
    slide.loads.clear()
    slide.gate.clear()
    display.levels[0][2048 : 2048 + 1280, 2048 : 2048 + 1280]  # 5 x 5 tiles
    slide.gate.set()
    wait_for(lambda: not display.loader.busy)
    distances = [max(abs(row - 10), abs(column - 10)) for _, row, column in slide.loads]
    assert sorted(slide.loads) == [(0, row, column) for row in range(8, 13) for column in range(8, 13)]
    assert distances[0] == 0
    assert max(distances[1:9]) == 1


def test_what_left_the_view_is_not_read(display_of_slide, make_slide):
    slide = make_slide(height=8192, width=8192, levels=5)
    display = display_of_slide(slide, readers=1)
    wait_for(lambda: not display.loader.busy)
    slide.loads.clear()
    slide.gate.clear()
    display.levels[0][0:1280, 0:1280]
    display.levels[0][5120:5632, 5120:5632]
    slide.gate.set()
    wait_for(lambda: not display.loader.busy)
    left = [key for key in slide.loads if key[1] < 20]
    assert len(left) <= 1  # the one that was being read
    assert len(slide.loads) - len(left) == 4


def test_a_stored_coarser_level_bridges_a_far_jump(display_of_slide, make_slide, monkeypatch):
    """Where the stand-in would be 16 times coarser or worse, the stored level in between comes first."""
    monkeypatch.setattr(placeholder_level, "PATIENCE_S", 0.0)
    slide = make_slide(height=16384, width=16384, levels=6, stored=(2, 4))
    display = display_of_slide(slide, readers=1)
    wait_for(lambda: not display.loader.busy)
    slide.loads.clear()
    slide.gate.clear()
    display.levels[0][4096:5120, 4096:5120]
    slide.gate.set()
    wait_for(lambda: not display.loader.busy)
    assert slide.loads[0] == (2, 4, 4)
    assert sum(key[0] == 2 for key in slide.loads) == 1


def test_a_ring_around_a_resting_view_follows(display_of_slide, make_slide):
    slide = make_slide(height=8192, width=8192, levels=5)
    display = display_of_slide(slide, ring_delay_s=0.05)
    wait_for(lambda: not display.loader.busy)
    slide.loads.clear()
    display.levels[0][2048:2560, 2048:2560]  # 2 x 2 tiles
    wait_for(lambda: len(slide.loads) == 16)
    assert set(slide.loads) == {(0, row, column) for row in range(7, 11) for column in range(7, 11)}


def test_a_flooded_cache_does_not_blur_the_view(display_of_slide, make_slide):
    slide = make_slide()
    display = display_of_slide(slide)
    display.levels[0][0:1024, 0:1024]
    wait_for(lambda: not display.loader.busy)
    slide.cache.drop(slide.fingerprint)
    reads = len(slide.loads)
    np.testing.assert_array_equal(display.levels[0][0:1024, 0:1024], slide.pixels(0)[0:1024, 0:1024])
    assert len(slide.loads) == reads


def test_a_closed_display_leaves_no_thread(display_of_slide, make_slide):
    before = threading.active_count()
    display = display_of_slide(make_slide())
    display.levels[0][0:1024, 0:1024]
    assert threading.active_count() > before
    display.close(timeout=5.0)
    assert threading.active_count() == before
    assert display.levels[0][0:10, 0:10].shape == (10, 10, 3)


def test_a_forgotten_display_leaves_no_thread(qapp, make_slide):
    before = threading.active_count()
    slide_layer_data(make_slide())
    wait_for(lambda: threading.active_count() == before)


@pytest.fixture
def patient(monkeypatch):
    """Let slices wait for as long as a test may take."""
    monkeypatch.setattr(placeholder_level, "PATIENCE_S", 60.0)


@pytest.fixture
def announced(monkeypatch):
    """Make a display whose redraws are recorded instead of done."""

    def record(display):
        posts = []
        wait_for(lambda: not display.loader.busy)
        monkeypatch.setattr(display.refresher, "post", lambda **options: posts.append(options))
        return posts

    return record


def test_a_slice_waits_for_tiles_that_come_soon(display_of_slide, make_slide, announced, patient):
    slide = make_slide()
    display = display_of_slide(slide)
    redraws = announced(display)
    np.testing.assert_array_equal(display.levels[0][300:1900, 400:2300], slide.pixels(0)[300:1900, 400:2300])
    wait_for(lambda: not display.loader.busy)
    assert redraws == []  # what napari got is sharp already


def test_nothing_waits_for_tiles_that_take_long(display_of_slide, make_slide):
    slide = make_slide(delay=0.02)
    display = display_of_slide(slide)
    wait_for(lambda: not display.loader.busy)
    view = View(0, Box(0, 256 * 5, 0, 256))  # 5 tiles: twice 20 ms for 4 threads
    display.loader.wait_for(view, patience=0.03)
    assert display.loader.view is None  # nothing was even asked for
    display.loader.wait_for(view, patience=60.0)
    assert display.loader.view == view


def test_tiles_that_come_after_the_wait_are_drawn(display_of_slide, make_slide, announced):
    slide = make_slide()
    display = display_of_slide(slide)
    redraws = announced(display)
    slide.gate.clear()
    display.levels[0][0:1024, 0:1024]
    assert redraws == []
    slide.gate.set()
    wait_for(lambda: not display.loader.busy)
    assert len(redraws) == 16
    assert redraws[-1]["at_once"]


def test_closing_ends_a_wait(display_of_slide, make_slide, announced, patient):
    slide = make_slide()
    display = display_of_slide(slide)
    announced(display)
    slide.gate.clear()
    slicing = threading.Thread(target=lambda: display.levels[0][0:1024, 0:1024])
    slicing.start()
    wait_for(lambda: display.loader.view is not None)
    assert slicing.is_alive()
    display.close()
    slicing.join(60.0)
    assert not slicing.is_alive()


def test_a_copied_layer_shows_the_same_slide(display_of_slide, make_slide):
    level = display_of_slide(make_slide()).levels[0]
    assert copy.deepcopy(level) is level


def test_a_view_is_never_larger_than_it_may_be(display_of_slide, make_slide, monkeypatch):
    monkeypatch.setattr(placeholder_level, "VIEW_PIXELS", 1000)
    slide = make_slide()
    display = display_of_slide(slide)
    wait_for(lambda: not display.loader.busy)
    reads = len(slide.loads)
    assert display.levels[0][0:1024, 0:1024].shape == (1024, 1024, 3)
    assert len(slide.loads) == reads
