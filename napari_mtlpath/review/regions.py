"""Regions drawn on a slide, and the tiles inside them."""

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from napari_mtlpath.review.events import Area
from napari_mtlpath.tiles.grid import TileGrid

MOST_CORNERS = 200_000
"""A region with more corners comes from a mask, pixel by pixel, not from a hand."""

SMALLEST = 1e-6
"""Square pixels below which a region has no inside."""


def area_of(outline: ArrayLike) -> Area:
    """Return the region inside a drawn line, which may cross itself.

    Parameters
    ----------
    outline
        Corners [n, 2] as (y, x) in level-0 pixels, edges at whole numbers.

    Raises
    ------
    ValueError
        If there is nothing inside.

    Examples
    --------
    >>> area_of([(0, 0), (0, 8), (8, 8), (8, 0)])
    ((((0.0, 0.0), (0.0, 8.0), (8.0, 8.0), (8.0, 0.0)),),)
    """
    corners = np.asarray(outline, dtype=np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise ValueError("A region needs at least three corners; draw a polygon, a rectangle or a lasso around tissue.")
    if not np.isfinite(corners).all():
        raise ValueError("A region's corners must be numbers; found NaN or infinity. Draw it again.")
    return area_from(Polygon(corners))


def area_from(shape: BaseGeometry) -> Area:
    """Return a region as plain numbers; parts without an inside are left out, crossing lines are untangled.

    Raises
    ------
    ValueError
        If it has no inside or too many corners.
    """
    if shapely.get_num_coordinates(shape) > MOST_CORNERS:
        raise ValueError(
            f"A region may have {MOST_CORNERS:,} corners; found {shapely.get_num_coordinates(shape):,}. Simplify it."
        )
    if not shape.is_valid:
        shape = shapely.make_valid(shape)
    polygons = [
        part for part in shapely.get_parts(shape, return_index=False) if isinstance(part, Polygon | MultiPolygon)
    ]
    singles = [single for part in polygons for single in shapely.get_parts(part) if single.area > SMALLEST]
    if not singles:
        raise ValueError("The region has no inside: its corners lie on one line. Draw it around tissue.")
    return tuple(tuple(_ring(ring) for ring in (single.exterior, *single.interiors)) for single in singles)


def shape_of(area: Area) -> MultiPolygon:
    """Return a region as a shapely geometry whose first coordinate is y."""
    return MultiPolygon([(polygon[0], list(polygon[1:])) for polygon in area])


def tiles_inside(area: Area, grid: TileGrid) -> NDArray[np.int64]:
    """Return the tiles whose centre lies inside a region, ascending.

    By its centre a tile belongs to at most one of two regions that touch, and the same tiles are found whatever the
    order in which corners were drawn.

    Examples
    --------
    >>> from napari_mtlpath.tiles.spec import TileSpec
    >>> grid = TileGrid.for_slide(height=80, width=80, mpp=(1, 1), spec=TileSpec(tile_um=8, tile_px=8))
    >>> tiles_inside(area_of([(0, 0), (0, 16.5), (8, 16.5), (8, 0)]), grid).tolist()
    [0, 1]
    """
    shape = shape_of(area)
    y0, x0, y1, x1 = shape.bounds
    near = grid.tiles_in(y0, x0, y1, x1)
    if len(near) == 0:
        return near
    shapely.prepare(shape)
    rows, columns = np.divmod(near, grid.columns)
    inside = shapely.contains_xy(shape, (rows + 0.5) * grid.side, (columns + 0.5) * grid.side)
    return near[inside]


def outside_share(area: Area, grid: TileGrid) -> float:
    """Return which share of a region's corners lies outside of the slide by more than a pixel."""
    corners = np.concatenate([np.asarray(ring) for polygon in area for ring in polygon])
    size = np.array([grid.slide_height, grid.slide_width])
    return float(((corners < -1) | (corners > size + 1)).any(axis=1).mean())


def _ring(ring: BaseGeometry) -> tuple[tuple[float, float], ...]:
    return tuple((float(y), float(x)) for y, x in np.asarray(ring.coords)[:-1, :2])
