"""Regions and the tiles inside them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Point

from napari_mtlpath.review.regions import area_of, outside_share, shape_of, tiles_inside
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.spec import TileSpec

GRID = TileGrid.for_slide(height=130, width=170, mpp=(1.0, 1.0), spec=TileSpec(tile_um=10, tile_px=10))
CORNERS = st.lists(st.tuples(st.floats(-20, 190), st.floats(-20, 190)), min_size=3, max_size=12)


@given(CORNERS)
def test_a_tile_is_inside_when_its_centre_is(corners: list[tuple[float, float]]) -> None:
    """Compare with shapely, tile by tile."""
    try:
        area = area_of(corners)
    except ValueError:
        return
    shape = shape_of(area)
    expected = [
        index for index in range(len(GRID)) if shape.contains(Point(*(c + GRID.side / 2 for c in GRID.corner(index))))
    ]
    assert tiles_inside(area, GRID).tolist() == expected


def test_a_rectangle_holds_the_tiles_under_it_and_no_others() -> None:
    inside = tiles_inside(area_of([(20, 30), (20, 60), (40, 60), (40, 30)]), GRID)
    assert [GRID.row_column(index) for index in inside] == [(2, 3), (2, 4), (2, 5), (3, 3), (3, 4), (3, 5)]


def test_a_line_that_crosses_itself_has_both_loops_inside() -> None:
    area = area_of([(0, 0), (100, 100), (100, 0), (0, 100)])
    assert len(area) == 2
    assert shape_of(area).area == pytest.approx(5000.0)


@pytest.mark.parametrize(
    "corners",
    [[(0, 0), (1, 1)], [(0, 0), (5, 5), (9, 9)], [(0, 0), (np.nan, 5), (9, 0)], [(3, 3), (3, 3), (3, 3)]],
)
def test_a_line_without_an_inside_is_refused(corners: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match=r"[Rr]egion"):
        area_of(corners)


def test_a_region_smaller_than_a_tile_holds_the_tile_whose_centre_it_covers() -> None:
    assert tiles_inside(area_of([(4, 4), (4, 6), (6, 6), (6, 4)]), GRID).tolist() == [0]
    assert tiles_inside(area_of([(1, 1), (1, 2), (2, 2), (2, 1)]), GRID).tolist() == []


def test_corners_off_the_slide_are_counted() -> None:
    assert outside_share(area_of([(0, 0), (0, 170), (130, 170), (130, 0)]), GRID) == 0
    assert outside_share(area_of([(0, 0), (0, 170), (500, 170), (500, 0)]), GRID) == 0.5
