import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import Microns, SlidePixels, TilePixels


def spec_of(tile_um: float = 100.0) -> TileSpec:
    return TileSpec(tile_um=Microns(tile_um), tile_px=TilePixels(224))


def grid_of(height: int, width: int, side: int, mpp: tuple[float, float] = (0.5, 0.5)) -> TileGrid:
    return TileGrid(
        slide_height=SlidePixels(height),
        slide_width=SlidePixels(width),
        side=SlidePixels(side),
        mpp=mpp,
        spec=spec_of(),
    )


lengths = st.integers(1, 200_000)
sides = st.integers(1, 5_000)
grids = st.builds(grid_of, lengths, lengths, sides, st.tuples(st.floats(0.05, 20), st.floats(0.05, 20)))
filled_grids = grids.filter(lambda grid: len(grid) > 0)
coordinates = st.floats(-1e6, 1e6) | st.integers(-10, 200_100).map(float) | st.just(math.inf) | st.just(-math.inf)


@given(grids)
def test_exactly_the_tiles_with_their_centre_on_the_slide_belong(grid):
    for count, length in ((grid.rows, grid.slide_height), (grid.columns, grid.slide_width)):
        assert count == 0 or (2 * count - 1) * grid.side < 2 * length
        assert (2 * count + 1) * grid.side >= 2 * length


@given(filled_grids, st.data())
def test_index_and_place_are_each_others_inverse(grid, data):
    index = data.draw(st.integers(0, len(grid) - 1))
    row, column = grid.row_column(index)
    assert grid.index(row, column) == index
    assert grid.corner(index) == (row * grid.side, column * grid.side)
    assert grid.corner(index)[0] + grid.side / 2 < grid.slide_height
    assert grid.corner(index)[1] + grid.side / 2 < grid.slide_width


@given(filled_grids, st.data())
def test_centre_lies_half_a_tile_below_the_corner(grid, data):
    index = data.draw(st.integers(0, len(grid) - 1))
    y, x = grid.centres_um(np.array([index]))[0]
    corner_y, corner_x = grid.corner(index)
    assert y == pytest.approx((corner_y + (grid.side - 1) / 2) * grid.mpp[0])
    assert x == pytest.approx((corner_x + (grid.side - 1) / 2) * grid.mpp[1])


small_grids = st.builds(grid_of, st.integers(1, 60), st.integers(1, 60), st.integers(1, 9))


@given(small_grids, *[st.floats(-20, 80) | st.integers(-20, 80).map(float)] * 4)
def test_tiles_in_a_rectangle_are_those_that_share_area_with_it(grid, y0, x0, y1, x1):
    expected = [
        grid.index(row, column)
        for row in range(grid.rows)
        for column in range(grid.columns)
        if min(y1, (row + 1) * grid.side) > max(y0, row * grid.side)
        and min(x1, (column + 1) * grid.side) > max(x0, column * grid.side)
    ]
    assert grid.tiles_in(y0, x0, y1, x1).tolist() == expected


@given(filled_grids, coordinates, coordinates, coordinates, coordinates)
def test_tiles_in_any_rectangle_exist(grid, y0, x0, y1, x1):
    # A slide of 200,000 px in tiles of one pixel has too many tiles to list: look at a narrow band then.
    if len(grid) > 100_000:
        y0, y1, x0, x1 = 5.0, 7.5, 0.0, 10.0
    found = grid.tiles_in(y0, x0, y1, x1)
    assert (found >= 0).all()
    assert (found < len(grid)).all()
    assert (np.diff(found) > 0).all()


def test_rectangle_that_is_not_a_number_holds_no_tile():
    assert grid_of(100, 100, 10).tiles_in(math.nan, 0, 50, 50).size == 0
    assert grid_of(100, 100, 10).tiles_in(0, 0, 50, math.nan).size == 0


@given(st.floats(0.05, 20), st.floats(20, 2000))
def test_side_shows_as_much_glass_as_the_model_was_made_for(mpp, tile_um):
    grid = TileGrid.for_slide(height=50_000, width=50_000, mpp=(mpp, mpp), spec=spec_of(tile_um))
    assert abs(grid.side - tile_um / mpp) <= 0.5 or grid.side == 1


@given(st.integers(1, 5000), st.integers(16, 1024))
def test_side_snaps_to_the_files_tiles_only_within_two_percent(side, native):
    grid = TileGrid.for_slide(
        height=10_000, width=10_000, mpp=(1.0, 1.0), spec=spec_of(float(side)), native_tile=(native, native)
    )
    assert abs(grid.side - side) <= 0.02 * side
    if grid.side != side:
        assert grid.side % native == 0


def test_side_snaps_to_a_multiple_of_the_files_tile():
    spec = TileSpec(tile_um=Microns(1020.0), tile_px=TilePixels(256))
    options = {"height": 20_480, "width": 20_480, "mpp": (1.0, 1.0), "spec": spec}
    assert TileGrid.for_slide(**options).side == 1020
    assert TileGrid.for_slide(**options, native_tile=(256, 256)).side == 1024
    assert TileGrid.for_slide(**options, native_tile=(240, 240)).side == 1020


def test_slide_smaller_than_half_a_tile_has_none():
    assert len(grid_of(10, 500, 21)) == 0
    assert grid_of(11, 500, 21).rows == 1
    assert grid_of(10, 500, 21).tiles_in(0, 0, 500, 500).size == 0


def test_key_follows_the_tiles_and_not_the_name_of_a_length():
    assert grid_of(100, 100, 10).key == grid_of(100, 100, 10, mpp=(0.51, 0.51)).key
    assert len({grid_of(100, 100, 10).key, grid_of(100, 101, 10).key, grid_of(100, 100, 11).key}) == 3


@pytest.mark.parametrize("mpp", [(0.0, 0.5), (0.5, -1.0), (math.nan, 0.5), (math.inf, 0.5)])
def test_senseless_resolution_is_refused(mpp):
    with pytest.raises(ValueError, match="Microns per pixel must be positive"):
        TileGrid.for_slide(height=100, width=100, mpp=mpp, spec=spec_of())


@pytest.mark.parametrize("place", [(-1, 0), (0, 10), (10, 0)])
def test_tile_outside_the_grid_is_refused(place):
    with pytest.raises(IndexError, match="10 rows and 10 columns"):
        grid_of(100, 100, 10).index(*place)
