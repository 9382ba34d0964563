"""Where the tissue is: a mask of a thumbnail, and from it the tiles that are worth reading."""

import math

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.otsu import otsu_threshold
from napari_mtlpath.tiles.specks import without_specks

DARK_MEDIAN = 64.0  # grey level: half of the thumbnail darker than this is fluorescence, not glass
STAIN_RANGE = (0.04, 0.15)  # optical density: paper-white glass stays below, pale eosin (0.1 to 0.2) above
GLOW_RANGE = (4.0, 40.0)  # grey levels above the dark background
BACKGROUND_PERCENTILE = 98.0  # glass is nearly the brightest thing; the last 2 % may be glare
GREY_GLASS = 150.0  # glass darker than this is no glass: the whole field is stained
SMALLEST_SPECK = 9  # thumbnail pixels: below lies dust
TILE_SHARE = 0.05  # a tile with 5 % tissue is read
NEARLY_NOTHING = 0.001


def tissue_mask(thumbnail: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which pixels of a thumbnail show tissue.

    Bright field: optical density against the glass, Otsu's threshold within the range that stains leave. Dark
    background (fluorescence): brightness above the background, likewise. A field that is all tissue gives an all-True
    mask.

    Parameters
    ----------
    thumbnail
        RGB, [y, x, 3] of uint8.
    """
    if thumbnail.ndim != 3 or thumbnail.shape[2] != 3:
        raise ValueError(f"A thumbnail is an RGB image [y, x, 3]; found shape {thumbnail.shape}.")
    pixels = thumbnail.astype(np.float32)
    grey = pixels.mean(axis=2)
    mask = _glowing(pixels) if np.median(grey) < DARK_MEDIAN else _stained(pixels, grey)
    return without_specks(mask, smallest=min(SMALLEST_SPECK, max(1, mask.size // 1000)))


class TissueMap:
    """Which tiles of a grid lie on tissue."""

    @staticmethod
    def for_grid(thumbnail: NDArray[np.uint8], grid: TileGrid) -> NDArray[np.bool_]:
        """Return the tiles on tissue, [row, column].

        Where nothing is found, or nearly nothing, every tile is kept: a slide that the detector does not understand
        is analysed in full rather than not at all.

        Parameters
        ----------
        thumbnail
            The whole slide, RGB [y, x, 3] of uint8.
        grid
            The tiles.
        """
        if len(grid) == 0:
            return np.zeros(grid.shape, dtype=np.bool_)
        mask = tissue_mask(thumbnail)
        if mask.mean() < NEARLY_NOTHING:
            return np.ones(grid.shape, dtype=np.bool_)
        tiles = _share_per_tile(mask, grid) >= TILE_SHARE
        return tiles if tiles.any() else np.ones(grid.shape, dtype=np.bool_)


def thumbnail_side(grid: TileGrid) -> int:
    """Return how large a thumbnail must be for two pixels per tile, between 1024 and 4096 px."""
    return min(4096, max(1024, 2 * max(grid.shape)))


def _stained(pixels: NDArray[np.float32], grey: NDArray[np.float32]) -> NDArray[np.bool_]:
    glass = pixels[grey >= np.percentile(grey, BACKGROUND_PERCENTILE)].mean(axis=0)
    # A field without glass (cells side by side) has no reference: white is the honest one.
    glass = np.maximum(glass, 200.0) if glass.mean() >= GREY_GLASS else np.full(3, 245.0)
    density = np.log((glass + 1.0) / (np.minimum(pixels, glass) + 1.0)).mean(axis=2)
    return density > _otsu_within(density, STAIN_RANGE)


def _glowing(pixels: NDArray[np.float32]) -> NDArray[np.bool_]:
    glow = pixels.max(axis=2)
    glow = glow - np.percentile(glow, 5.0)
    return glow > _otsu_within(glow, GLOW_RANGE)


def _otsu_within(values: NDArray[np.float32], limits: tuple[float, float]) -> float:
    low, high = limits
    if float(values.max()) - float(values.min()) < 1e-6:
        return low
    return float(np.clip(otsu_threshold(values), low, high))


def _share_per_tile(mask: NDArray[np.bool_], grid: TileGrid) -> NDArray[np.float64]:
    """Return the share of tissue in each tile, over the part of the tile that lies on the slide."""
    total = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1))
    total[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    top, bottom = _edges(grid.rows, side=grid.side, length=grid.slide_height, pixels=mask.shape[0])
    left, right = _edges(grid.columns, side=grid.side, length=grid.slide_width, pixels=mask.shape[1])
    tissue = (
        total[np.ix_(bottom, right)]
        - total[np.ix_(top, right)]
        - total[np.ix_(bottom, left)]
        + total[np.ix_(top, left)]
    )
    area = (bottom - top)[:, None] * (right - left)[None, :]
    return tissue / area


def _edges(count: int, *, side: int, length: int, pixels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return first and end thumbnail pixel of each tile along one axis, at least one pixel each."""
    corners = np.arange(count, dtype=np.float64) * side * pixels / length
    first = np.minimum(np.floor(corners).astype(np.int64), pixels - 1)
    end = np.ceil(np.minimum(corners + side * pixels / length, pixels) - 1e-9).astype(np.int64)
    return first, np.clip(np.maximum(end, first + 1), 1, math.ceil(pixels))
