"""Tiles of the slides of a cohort, read from the slide files at the places that the feature files state."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from napari_mtlpath.features.h5 import LengthUnit
from napari_mtlpath.slides.cache import TileCache
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.resampling import Resampling
from napari_mtlpath.slides.slide import Slide
from napari_mtlpath.slides.slide_file import slide_file
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.cohorts.feature_files import SlideTiles
from napari_mtlpath.training.end_to_end.tiles import BagTiles, TilePool
from napari_mtlpath.units import Microns, TilePixels

OPEN_SLIDES = 4
CACHE_BYTES = 64 * 2**20
"""Of decoded native tiles: neighbours share them; across steps there is nothing to gain, for tiles are drawn anew."""


class SlideShelf:
    """The slide files of a folder; a few that were used last stay open.

    Parameters
    ----------
    folder
        Where the slides lie, named as in the table, with or without their suffix.
    tile_px
        Side in pixels of the tiles that the encoder takes.
    """

    def __init__(self, folder: Path, *, tile_px: int) -> None:
        self.folder = folder
        self.tile_px = tile_px
        self._cache = TileCache(max_bytes=CACHE_BYTES)
        self._open: OrderedDict[str, Slide] = OrderedDict()

    def tiles(self, slides: Sequence[SlideTiles]) -> BagTiles:
        """Return the tiles of a bag of one or several slides; nothing is opened yet."""
        pool = SlidePool(self, slides)
        return BagTiles(pool=pool, rows=torch.arange(len(pool)))

    def slide(self, name: str) -> Slide:
        """Return an open slide.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        napari_mtlpath.slides.source.SlideError
            If it cannot be opened.
        """
        if name not in self._open:
            path = slide_file(self.folder, name)
            if path is None:
                raise FileNotFoundError(
                    f"There is no slide {name!r} in {self.folder}. Correct data.slide_files, or the name in the table."
                )
            self._open[name] = open_slide(path, cache=self._cache)
            while len(self._open) > OPEN_SLIDES:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(name)
        return self._open[name]

    def close(self) -> None:
        """Close the open slides; they are opened again when they are needed."""
        while self._open:
            self._open.popitem()[1].close()


class SlidePool(TilePool):
    """The tiles of a bag's slides, in the order of its features."""

    def __init__(self, shelf: SlideShelf, slides: Sequence[SlideTiles]) -> None:
        self.shelf = shelf
        self.slides = tuple(slides)
        self._ends = np.cumsum([len(slide.centres) for slide in self.slides])

    def __len__(self) -> int:
        """Return how many tiles there are."""
        return int(self._ends[-1])

    def read(self, rows: Int64[Tensor, " tile"]) -> UInt8[Tensor, "tile y x 3"]:
        """Return tiles as the encoder takes them.

        Raises
        ------
        OSError
            If a tile cannot be read.
        ValueError
            If the places cannot be found on the slide: it or the feature file does not say how large a pixel is.
        """
        return torch.from_numpy(np.stack([self._tile(row) for row in rows.tolist()]))

    def _tile(self, row: int) -> np.ndarray:
        number = int(np.searchsorted(self._ends, row, side="right"))
        place = self.slides[number]
        within = row - (int(self._ends[number - 1]) if number else 0)
        slide = self.shelf.slide(place.slide)
        y, x, side = _square(slide, place, within, self.shelf.tile_px)
        pixels = slide.read_square(y, x, side, tile_px=self.shelf.tile_px, resampling=Resampling.SCALED)
        if not pixels.complete:
            raise OSError(
                f"A tile of slide {place.slide!r} at {y}, {x} cannot be read. Extract its features anew: tiles that "
                "cannot be read are left out then."
            )
        return pixels.array


def _square(slide: Slide, place: SlideTiles, tile: int, tile_px: int) -> tuple[int, int, int]:
    """Return a tile's upper left corner (y, x) and side in level-0 pixels."""
    if place.side is None:
        raise ValueError(
            f"The features of slide {place.slide!r} do not say how large its tiles are. Extract them anew with "
            "mtlpath extract."
        )
    y, x = (place.centres[tile] - place.side / 2).tolist()
    if place.unit is LengthUnit.SLIDE_PIXELS:
        return round(y), round(x), round(place.side)
    mpp = slide.resolution.mpp
    if mpp is None:
        raise ValueError(
            f"Slide {place.slide!r} has no known microns per pixel, which its tiles are placed by. Write them into the "
            "file, or train on another copy of the slide."
        )
    spec = TileSpec(tile_um=Microns(place.side), tile_px=TilePixels(tile_px))
    grid = TileGrid.for_slide(
        height=slide.height, width=slide.width, mpp=mpp, spec=spec, native_tile=slide.tile_shape(0)
    )
    return round(y / mpp[0]), round(x / mpp[1]), int(grid.side)
