"""The model's read: squares of glass at the size an encoder takes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic import tissue, write_aperio_like, write_pyramid

from napari_mtlpath.slides.cache import TileCache
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.resample import resize
from napari_mtlpath.slides.resampling import Resampling
from napari_mtlpath.slides.slide import Slide
from napari_mtlpath.slides.square import SquareReader


def area_mean(pixels: np.ndarray, y: float, x: float, side: float, tile_px: int) -> np.ndarray:
    """Exact area mean from an integral image with linear interpolation; independent of Pillow."""
    total = np.zeros((pixels.shape[0] + 1, pixels.shape[1] + 1, 3))
    total[1:, 1:] = pixels.astype(float).cumsum(0).cumsum(1)

    def at(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        y0 = np.minimum(rows.astype(int), pixels.shape[0] - 1)
        x0 = np.minimum(columns.astype(int), pixels.shape[1] - 1)
        fy, fx = (rows - y0)[:, None, None], (columns - x0)[None, :, None]
        upper = total[y0][:, x0] * (1 - fx) + total[y0][:, x0 + 1] * fx
        lower = total[y0 + 1][:, x0] * (1 - fx) + total[y0 + 1][:, x0 + 1] * fx
        return upper * (1 - fy) + lower * fy

    step = side / tile_px
    corners = at(y + np.arange(tile_px + 1) * step, x + np.arange(tile_px + 1) * step)
    return (corners[1:, 1:] - corners[:-1, 1:] - corners[1:, :-1] + corners[:-1, :-1]) / step**2


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Slide:
    path = tmp_path_factory.mktemp("squares") / "jpeg.svs"
    return open_slide(write_aperio_like(path, tissue(1300, 1400, seed=4), levels=(1, 4), quality=90))


@pytest.fixture(scope="module")
def level_0(slide: Slide) -> np.ndarray:
    return slide.read_region(0, 0, slide.height, slide.width).array


def test_a_quarter_square_of_real_tissue_is_the_area_mean_within_a_quarter_grey_level(cmu_svs: Path) -> None:
    slide = open_slide(cmu_svs)
    full = slide.read_region(0, 0, slide.height, slide.width).array
    errors = []
    for y, x in ((0, 0), (960, 480), (1680, 960)):
        ours = slide.read_square(y, x, 960, tile_px=240, resampling=Resampling.SCALED).array
        errors.append(np.abs(ours - area_mean(full, y, x, 960, 240)))
    assert np.mean(errors) <= 0.35  # a quarter of a grey level of it is the rounding to whole numbers
    assert np.max(errors) <= 10


@given(
    y=st.floats(0, 500),
    x=st.floats(0, 600),
    side=st.floats(225, 790),
    resampling=st.sampled_from([Resampling.SCALED, Resampling.AREA]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shrinking_square_is_near_the_exact_area_mean(
    slide: Slide, level_0: np.ndarray, y: float, x: float, side: float, resampling: Resampling
) -> None:
    ours = slide.read_square(y, x, side, tile_px=224, resampling=resampling)
    assert ours.complete
    error = np.abs(ours.array - area_mean(level_0, y, x, side, 224))
    assert error.mean() < 0.6
    if resampling is Resampling.AREA:
        assert error.max() <= 1.5


@given(
    box=st.tuples(*[st.floats(0, 40)] * 2, *[st.floats(60, 130)] * 2),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_any_part_shrinks_to_its_exact_area_mean(
    box: tuple[float, float, float, float], height: int, width: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (130, 130, 3)).astype(np.uint8)
    made = resize(pixels, box=box, height=height, width=width)
    assert made.shape == (height, width, 3)
    mean = exact_mean(pixels, box, height, width)
    assert np.abs(made - mean).max() <= 0.56  # to the next grey level; Pillow, asked for whole factors, a little more


@pytest.mark.parametrize(
    ("size", "made"),
    [((256, 256), (224, 224)), ((240, 240), (224, 224)), ((300, 256), (225, 224)), ((81, 128), (18, 7))],
)
def test_whole_pixels_shrink_to_their_exact_area_mean_where_their_weights_repeat(
    size: tuple[int, int], made: tuple[int, int]
) -> None:
    earlier, later = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(np.uint8)
    box = 0.0, 0.0, float(size[0]), float(size[1])
    first = resize(earlier, box=box, height=made[0], width=made[1])
    resize(later, box=box, height=made[0], width=made[1])  # must not write over the first
    assert np.abs(first - exact_mean(earlier, box, *made)).max() <= 0.501


def exact_mean(pixels: np.ndarray, box: tuple[float, float, float, float], height: int, width: int) -> np.ndarray:
    """Return the area mean in float64, each weight from its definition."""
    edges = np.linspace(box[0], box[2], height + 1), np.linspace(box[1], box[3], width + 1)
    rows, columns = (
        np.clip(np.minimum(np.arange(size) + 1, edge[1:, None]) - np.maximum(np.arange(size), edge[:-1, None]), 0, None)
        for edge, size in zip(edges, pixels.shape, strict=False)
    )
    mean = np.einsum("iy,jx,yxc->ijc", rows, columns, pixels, optimize=True)
    return mean / (rows.sum(1)[:, None, None] * columns.sum(1)[None, :, None])


def test_a_square_is_the_same_whether_its_tiles_stay_in_memory_or_pass(slide: Slide) -> None:
    asked = [(y, x) for y in (0, 130, 256) for x in (0, 77, 512)]
    passing = open_slide(slide.path, cache=TileCache(max_bytes=0))
    for y, x in asked:
        for side, tile_px in ((512, 128), (600, 560), (512, 224)):
            ask = {"tile_px": tile_px, "resampling": Resampling.SCALED}
            np.testing.assert_array_equal(
                passing.read_square(y, x, side, **ask).array, slide.read_square(y, x, side, **ask).array
            )
        np.testing.assert_array_equal(
            passing.read_region(y, x, 300, 700).array, slide.read_region(y, x, 300, 700).array
        )


def test_a_square_on_the_native_tiles_is_read_without_resampling(slide: Slide, level_0: np.ndarray) -> None:
    ours = slide.read_square(512, 256, 512, tile_px=512, resampling=Resampling.SCALED).array
    np.testing.assert_array_equal(ours, level_0[512:1024, 256:768])


def test_the_stored_level_is_taken_where_it_fits(slide: Slide) -> None:
    level = next(i for i, info in enumerate(slide.levels) if info.stored and i > 0)
    ours = slide.read_square(200, 240, 800, tile_px=200, resampling=Resampling.STORED).array
    down = slide.levels[level].downsample
    expected = slide.read_region(round(200 / down[0]), round(240 / down[1]), 200, 200, level=level).array
    assert np.abs(ours.astype(int) - expected).mean() < 1.0


def test_growing_is_linear_and_not_in_steps(slide: Slide, level_0: np.ndarray) -> None:
    ours = slide.read_square(300, 300, 100, tile_px=400, resampling=Resampling.SCALED).array.astype(int)
    assert np.abs(np.diff(ours, axis=0)).max() <= np.abs(np.diff(level_0[299:402, 299:402].astype(int), axis=0)).max()
    assert np.abs(ours.mean() - level_0[300:400, 300:400].mean()) < 0.5


def test_squares_beyond_the_edge_show_the_background(slide: Slide) -> None:
    ours = slide.read_square(-512, -512, 512, tile_px=64, resampling=Resampling.AREA)
    assert (ours.array == 255).all()
    assert ours.complete


def test_a_square_read_in_parts_equals_one_read_whole(slide: Slide, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = {"tile_px": 200, "resampling": Resampling.AREA}
    whole = slide.read_square(10.5, 20.25, 1100.5, **ask).array
    monkeypatch.setattr("napari_mtlpath.slides.square.BLOCK_PX", 400)
    parts = slide.read_square(10.5, 20.25, 1100.5, **ask).array
    assert np.abs(whole.astype(int) - parts).max() <= 1


def test_the_reduction_keeps_at_least_the_wanted_pixels(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", tissue(300, 300), levels=(1,), tile=240, compression="jpeg")
    choose = SquareReader(None, open_slide(path).facts.levels)._choose
    chosen = [choose(scale, Resampling.SCALED)[1] for scale in (0.5, 1.0, 1.99, 2.0, 3.9, 4.0, 7.9, 8.0, 100.0)]
    assert chosen == [1, 1, 1, 2, 2, 4, 4, 8, 8]


def test_neighbouring_squares_share_the_tiles_between_them(slide: Slide) -> None:
    cache = TileCache()
    mine = open_slide(slide.path, cache=cache)
    mine.read_square(0, 0, 384, tile_px=96, resampling=Resampling.SCALED)
    kept = len(cache)
    mine.read_square(0, 384, 384, tile_px=96, resampling=Resampling.SCALED)
    assert kept == 3  # of four touched tiles the one that lies inside the square is not wanted again
    assert cache.hits == 2


@pytest.mark.parametrize("side", [0.0, -5.0, float("nan"), float("inf")])
def test_a_square_needs_a_positive_side(slide: Slide, side: float) -> None:
    with pytest.raises(ValueError, match="positive sides"):
        slide.read_square(0, 0, side, tile_px=10, resampling=Resampling.AREA)
