"""The pixels of slides that were open once: opened again where they lie, for an encoder that learns."""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from napari_mtlpath.inference.tile_reader import read_tile
from napari_mtlpath.review.events import SlideSeen
from napari_mtlpath.session.label_place import grid_of
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.slide import Slide
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.end_to_end.tiles import TilePool
from napari_mtlpath.training.teaching.config import TeachConfig
from napari_mtlpath.training.teaching.lesson import Lesson, TaughtBag
from napari_mtlpath.zoo.model import SlideModel

OPEN_SLIDES = 4
KEPT_BYTES = 512 * 2**20
"""Of tiles that were read: every step reads some of them again."""

MOST_REFERENCES = 24
"""Slides that are opened again to compare old answers on, those used last: each is read from, and encoded anew."""

MOST_NAMES = 3
"""Slides that a sentence lists before it only counts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WithPixels:
    """What is taught, where the encoder learns.

    Attributes
    ----------
    lessons, references
        With their tiles' pixels, where these can be read.
    note
        Which reference slides cannot be read and are left out, in a sentence; may be empty.
    """

    lessons: tuple[Lesson, ...]
    references: tuple[TaughtBag, ...]
    note: str


@contextlib.contextmanager
def with_pixels(
    config: TeachConfig,
    model: SlideModel,
    lessons: Sequence[Lesson],
    references: Sequence[TaughtBag],
    *,
    seen: Mapping[str, SlideSeen],
    tell: Callable[[str], object],
) -> Iterator[WithPixels]:
    """Hold what is taught from, with pixels where the encoder learns, while the block runs. Opens slides.

    Parameters
    ----------
    config, model
        How, and which model.
    lessons, references
        As they were made of labels and the feature store.
    seen
        What is known of each slide that was open once, by fingerprint.
    tell
        Takes a sentence about what is left out.

    Raises
    ------
    ValueError
        If a slide of the lessons cannot be read; one sentence says which and why.
    """
    if not config.trains_encoder:
        yield WithPixels(lessons=tuple(lessons), references=tuple(references), note="")
        return
    shelf = PixelShelf(seen, model.card.tile)
    try:
        ready = shelf.bring(lessons, references[:MOST_REFERENCES])
        if ready.note:
            tell(ready.note)
        yield ready
    finally:
        shelf.close()


class PixelShelf:
    """Slides by fingerprint; a few that were used last stay open, and so do tiles that were read. Close it in the end.

    Parameters
    ----------
    seen
        What is known of each slide that was open once.
    spec
        The model's tiles.
    """

    def __init__(self, seen: Mapping[str, SlideSeen], spec: TileSpec) -> None:
        self._seen = dict(seen)
        self._spec = spec
        self._open: OrderedDict[str, Slide] = OrderedDict()
        self._kept: OrderedDict[tuple[str, int], NDArray[np.uint8]] = OrderedDict()
        self._bytes = 0

    def bring(self, lessons: Sequence[Lesson], references: Sequence[TaughtBag]) -> WithPixels:
        """Return lessons and references with their pixels.

        Raises
        ------
        ValueError
            If a slide of the lessons cannot be read; one sentence says which and why.
        """
        ready = [
            replace(lesson, bags=tuple(replace(bag, pixels=self._pool(bag)) for bag in lesson.bags))
            for lesson in lessons
        ]
        found, lacking = [], []
        for bag in references:
            try:
                found.append(replace(bag, pixels=self._pool(bag)))
            except ValueError:
                lacking.append(bag.name)
        return WithPixels(lessons=tuple(ready), references=tuple(found), note=_left_out(lacking))

    def tile(self, fingerprint: str, grid: TileGrid, number: int) -> NDArray[np.uint8]:
        """Return one tile as the encoder takes it.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        key = (fingerprint, number)
        if key not in self._kept:
            slide = self.slide(fingerprint)
            pixels = read_tile(slide, grid, number)
            if pixels is None:
                raise OSError(
                    f"Tile {number} of slide {slide.name!r} cannot be read any more. Check the disk or the network, "
                    "and start again; or set encoder_blocks = 0."
                )
            self._kept[key] = pixels
            self._bytes += pixels.nbytes
            while self._bytes > KEPT_BYTES:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        self._kept.move_to_end(key)
        return self._kept[key]

    def slide(self, fingerprint: str) -> Slide:
        """Return an open slide; ValueError or OSError where that cannot be, in one sentence."""
        if fingerprint not in self._open:
            seen = self._seen[fingerprint]
            path = Path(seen.path)
            if not path.is_file():
                raise ValueError(
                    f"Slide {seen.name!r} is not at {path} any more, and training the encoder needs its pixels. "
                    "Open it where it is now, or set encoder_blocks = 0."
                )
            slide = open_slide(path, mpp=seen.mpp)
            if slide.fingerprint != fingerprint:
                slide.close()
                raise ValueError(
                    f"The file {path} is not the slide {seen.name!r} that was seen before. Bring that back, or set "
                    "encoder_blocks = 0."
                )
            self._open[fingerprint] = slide
            while len(self._open) > OPEN_SLIDES:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(fingerprint)
        return self._open[fingerprint]

    def close(self) -> None:
        """Close the open slides."""
        while self._open:
            self._open.popitem()[1].close()
        self._kept.clear()

    def _pool(self, bag: TaughtBag) -> TilePool:
        seen = self._seen.get(bag.fingerprint)
        if bag.numbers is None:
            raise ValueError(
                f"Slide {bag.name!r} is known by its features only, and training the encoder needs its pixels. Open "
                "the slide itself, leave its labels out, or set encoder_blocks = 0."
            )
        if seen is None:
            raise ValueError(
                f"Where slide {bag.name!r} lies is not known, and training the encoder needs its pixels. Open it once, "
                "or set encoder_blocks = 0."
            )
        grid = grid_of(seen, self._spec)
        if f"{grid.spec.key}-{grid.key}" != bag.grid:
            raise ValueError(
                f"Slide {seen.name!r} has other microns per pixel now than when its tiles were analysed. Open it again "
                "with this model, or set encoder_blocks = 0."
            )
        self.slide(bag.fingerprint)
        return _SlidePixels(self, bag.fingerprint, grid)


class _SlidePixels(TilePool):
    """The tiles of one slide's grid."""

    def __init__(self, shelf: PixelShelf, fingerprint: str, grid: TileGrid) -> None:
        self._shelf, self._fingerprint, self._grid = shelf, fingerprint, grid

    def __len__(self) -> int:
        return len(self._grid)

    def read(self, rows: Int64[Tensor, " tile"]) -> UInt8[Tensor, "tile y x 3"]:
        tiles = [self._shelf.tile(self._fingerprint, self._grid, number) for number in rows.tolist()]
        return torch.from_numpy(np.stack(tiles))


def _left_out(names: Sequence[str]) -> str:
    if not names:
        return ""
    listed = ", ".join(map(repr, names[:MOST_NAMES]))
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return (
        f"Not compared, because their files cannot be opened again: {listed}{more}. Open them where they are now to "
        "have their old answers compared, too."
    )
