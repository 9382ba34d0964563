import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mtlpath.inference.heatmap import Heatmap, HeatmapKind, heatmaps_of, placement
from napari_mtlpath.nn.answers import BagAnswer, TaskAnswer
from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import Microns, SlidePixels, TilePixels


def grid_of(height: int, width: int, side: int, mpp: tuple[float, float] = (0.5, 0.5)) -> TileGrid:
    return TileGrid(
        slide_height=SlidePixels(height),
        slide_width=SlidePixels(width),
        side=SlidePixels(side),
        mpp=mpp,
        spec=TileSpec(tile_um=Microns(100.0), tile_px=TilePixels(64)),
    )


@given(
    st.integers(1, 150_000),
    st.integers(1, 150_000),
    st.integers(1, 3000),
    st.tuples(st.floats(0.05, 20), st.floats(0.05, 20)),
    st.data(),
)
def test_heatmap_lies_on_its_tiles(height, width, side, mpp, data):
    grid = grid_of(height, width, side, mpp)
    if len(grid) == 0:
        return
    row = data.draw(st.integers(0, grid.rows - 1))
    column = data.draw(st.integers(0, grid.columns - 1))
    place = placement(grid, mpp)
    corner = grid.corner(grid.index(row, column))
    for axis, position in enumerate((row, column)):
        # napari draws pixel p of a layer from translate + (p - 1/2) scale to translate + (p + 1/2) scale, and pixel q
        # of the slide, with scale mpp and translate 0, from (q - 1/2) mpp to (q + 1/2) mpp.
        begins = place.translate[axis] + (position - 0.5) * place.scale[axis]
        ends = place.translate[axis] + (position + 0.5) * place.scale[axis]
        first, last = corner[axis], corner[axis] + side - 1
        assert begins == pytest.approx((first - 0.5) * mpp[axis], abs=1e-6 * mpp[axis])
        assert ends == pytest.approx((last + 0.5) * mpp[axis], abs=1e-6 * mpp[axis])


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 700), st.floats(0.05, 20))
def test_centres_given_to_the_model_are_where_the_heatmap_draws(height, width, side, mpp):
    grid = grid_of(height, width, side, (mpp, mpp))
    if len(grid) == 0:
        return
    place = placement(grid, (mpp, mpp))
    index = len(grid) - 1
    row, column = grid.row_column(index)
    drawn = (
        place.translate[0] + row * place.scale[0],
        place.translate[1] + column * place.scale[1],
    )
    np.testing.assert_allclose(grid.centres_um(np.array([index]))[0], drawn, rtol=1e-12, atol=1e-9)


def answer(tiles: int, outputs: int = 1) -> TaskAnswer:
    powers = np.exp(np.arange(tiles, dtype=np.float32))
    weights = powers / powers.sum()
    return TaskAnswer(
        logits=np.arange(float(outputs)),
        routing=weights,
        attention=weights[::-1],
        selected=weights > 0.1,
        tile_logits=np.arange(tiles * outputs, dtype=np.float32).reshape(tiles, outputs) - 1,
    )


def maps_of(task, tiles=5, outputs=1):
    grid = grid_of(30, 40, 10)
    indices = np.array([0, 3, 5, 6, 11])[:tiles]
    output = BagAnswer(tasks={task.name: answer(tiles, outputs)})
    return {h.kind: h.values for h in heatmaps_of(output, indices, grid, tasks=[task])}, indices


def test_routing_of_one_is_uniform_and_unknown_tiles_are_nan():
    maps, indices = maps_of(Classification(name="t"))
    routing = maps[HeatmapKind.ROUTING]
    assert routing.shape == (3, 4)
    assert routing.dtype == np.float32
    known = np.zeros(12, bool)
    known[indices] = True
    np.testing.assert_array_equal(np.isnan(routing).ravel(), ~known)
    assert np.nanmean(routing) == pytest.approx(1.0)
    assert np.nanmean(maps[HeatmapKind.ATTENTION]) == pytest.approx(1.0)


def test_values_lie_at_their_tiles():
    maps, indices = maps_of(Regression(name="t"))
    np.testing.assert_array_equal(maps[HeatmapKind.PREDICTION].ravel()[indices], [-1, 0, 1, 2, 3])


def test_binary_tile_answers_are_scores():
    maps, indices = maps_of(Classification(name="t"))
    np.testing.assert_allclose(
        maps[HeatmapKind.PREDICTION].ravel()[indices], 1 / (1 + np.exp(-np.arange(-1.0, 4.0))), rtol=1e-6
    )


def test_tiles_of_a_task_with_classes_speak_for_the_slides_class():
    maps, indices = maps_of(Classification(name="t", classes=("a", "b", "c")), outputs=3)
    values = maps[HeatmapKind.PREDICTION].ravel()[indices]
    expected = np.exp(2.0) / np.exp([0.0, 1.0, 2.0]).sum()
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.parametrize(("classes", "shown"), [(("a", "b", "c"), 2), (("a", "b"), None)])
def test_a_prediction_says_which_of_several_classes_it_shows(classes, shown):
    task, outputs = Classification(name="t", classes=classes), len(classes) if len(classes) > 2 else 1
    output = BagAnswer(tasks={"t": answer(5, outputs)})
    said = {h.kind: h.shown_class for h in heatmaps_of(output, np.arange(5), grid_of(30, 40, 10), tasks=[task])}
    assert said == {HeatmapKind.ROUTING: None, HeatmapKind.ATTENTION: None, HeatmapKind.PREDICTION: shown}


def test_model_that_explains_nothing_has_no_heatmap():
    task = Classification(name="t")
    output = BagAnswer(tasks={"t": TaskAnswer(logits=np.zeros(1))})
    assert heatmaps_of(output, np.array([0]), grid_of(10, 10, 10), tasks=[task]) == []


def test_heatmap_of_another_shape_than_the_grid_is_refused():
    with pytest.raises(ValueError, match="one value per tile"):
        Heatmap(task="t", kind=HeatmapKind.ROUTING, values=np.zeros((2, 2), np.float32), grid=grid_of(30, 40, 10))


def test_a_model_of_slide_labels_shows_nothing_tile_by_tile():
    task = Classification(name="t")
    output = BagAnswer(tasks={"t": answer(5)})
    kinds = {
        h.kind
        for h in heatmaps_of(output, np.arange(5), grid_of(30, 40, 10), tasks=[task], without_tile_answers={task.name})
    }
    assert kinds == {HeatmapKind.ROUTING, HeatmapKind.ATTENTION}
