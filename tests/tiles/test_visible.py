import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.tiles.visible import STRIDES, order_rest, order_tiles
from napari_mtlpath.units import Microns, SlidePixels, TilePixels

SIDE = 10


def grid_of(rows: int, columns: int) -> TileGrid:
    return TileGrid(
        slide_height=SlidePixels(rows * SIDE),
        slide_width=SlidePixels(columns * SIDE),
        side=SlidePixels(SIDE),
        mpp=(1.0, 1.0),
        spec=TileSpec(tile_um=Microns(10.0), tile_px=TilePixels(16)),
    )


@st.composite
def scenes(draw):
    grid = grid_of(draw(st.integers(1, 30)), draw(st.integers(1, 30)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    known = random.random(grid.shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    tissue = random.random(grid.shape) < draw(st.sampled_from([0.3, 1.0]))
    y0, x0 = draw(st.floats(-50, 300)), draw(st.floats(-50, 300))
    return grid, known, (y0, x0, y0 + draw(st.floats(1, 300)), x0 + draw(st.floats(1, 300))), tissue


@given(scenes())
def test_each_wanted_tile_of_view_and_ring_comes_once(scene):
    grid, known, view, tissue = scene
    ordered = order_tiles(grid, known, view, tissue)
    y0, x0, y1, x1 = view
    around = grid.tiles_in(y0 - SIDE, x0 - SIDE, y1 + SIDE, x1 + SIDE)
    wanted = (tissue & ~known).ravel()
    assert sorted(ordered) == [index for index in around if wanted[index]]


@given(scenes())
def test_ring_comes_after_the_view_and_fine_after_coarse(scene):
    grid, known, view, tissue = scene
    ordered = order_tiles(grid, known, view, tissue)
    inside = set(grid.tiles_in(*view).tolist())
    stages = []
    for index in ordered:
        row, column = grid.row_column(index)
        stage = next(i for i, stride in enumerate(STRIDES) if row % stride == 0 and column % stride == 0)
        stages.append(stage if index in inside else len(STRIDES))
    assert stages == sorted(stages)


@given(scenes())
def test_within_a_stage_the_middle_comes_first(scene):
    grid, known, view, tissue = scene
    y0, x0, y1, x1 = view
    centre_y = (np.clip(y0, 0, grid.slide_height) + np.clip(y1, 0, grid.slide_height)) / 2
    centre_x = (np.clip(x0, 0, grid.slide_width) + np.clip(x1, 0, grid.slide_width)) / 2
    last = {}
    inside = set(grid.tiles_in(*view).tolist())
    for index in order_tiles(grid, known, view, tissue):
        row, column = grid.row_column(index)
        stage = next(i for i, stride in enumerate(STRIDES) if row % stride == 0 and column % stride == 0)
        stage = stage if index in inside else len(STRIDES)
        distance = np.hypot((row + 0.5) * SIDE - centre_y, (column + 0.5) * SIDE - centre_x)
        assert distance >= last.get(stage, 0.0) - 1e-6
        last[stage] = distance


def test_tile_in_the_middle_of_a_view_comes_first_among_the_fine_ones():
    grid = grid_of(7, 7)
    nothing, everything = np.zeros(grid.shape, bool), np.ones(grid.shape, bool)
    ordered = order_tiles(grid, nothing, (0.0, 0.0, 70.0, 70.0), everything)
    fine = [index for index in ordered if grid.row_column(index)[0] % 2 or grid.row_column(index)[1] % 2]
    assert grid.row_column(fine[0]) == (3, 3)


@given(scenes())
def test_rest_is_all_remaining_tissue_by_growing_rings(scene):
    grid, known, view, tissue = scene
    ordered = order_rest(grid, known, view, tissue)
    assert sorted(ordered) == np.flatnonzero((tissue & ~known).ravel()).tolist()


def test_rest_grows_from_the_view_or_from_the_middle_of_the_slide():
    grid = grid_of(9, 9)
    nothing, everything = np.zeros(grid.shape, bool), np.ones(grid.shape, bool)
    assert order_rest(grid, nothing, None, everything)[0] == grid.index(4, 4)
    ordered = order_rest(grid, nothing, (0.0, 0.0, 10.0, 10.0), everything)
    assert ordered[0] == grid.index(0, 0)
    assert set(ordered[1:4]) == {grid.index(0, 1), grid.index(1, 0), grid.index(1, 1)}
