"""Tiles of slide files, positive or negative by a table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from napari_mtlpath.tables.cohort import Patient
from napari_mtlpath.tables.read import read_cohort
from napari_mtlpath.tables.rules import TableRules
from napari_mtlpath.tasks import Classification
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.tiles.tissue import TissueMap, thumbnail_side
from napari_mtlpath.training.config.slide_aware import SlideFiles
from napari_mtlpath.training.end_to_end.slide_pool import SlideShelf
from napari_mtlpath.training.end_to_end.tiles import BagTiles, TilePool
from napari_mtlpath.training.slide_aware.slide_tiles import Sides, SlideTilesData
from napari_mtlpath.training.tile_training.tile_data import find_data
from napari_mtlpath.units import Microns, TilePixels


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedSlide:
    """One slide: which tiles of its grid are used."""

    name: str
    grid: TileGrid
    indices: NDArray[np.int64]


class SlideFilePool(TilePool):
    """The tiles of several slides, one slide after the other."""

    def __init__(self, shelf: SlideShelf, slides: Sequence[PlacedSlide]) -> None:
        self.shelf = shelf
        self.slides = tuple(slides)
        self._ends = np.cumsum([len(slide.indices) for slide in self.slides])

    def __len__(self) -> int:
        """Return how many tiles there are."""
        return int(self._ends[-1])

    def read(self, rows: Int64[Tensor, " tile"]) -> UInt8[Tensor, "tile y x 3"]:
        """Return tiles as the encoder takes them; neighbours in the file are read one after the other.

        Raises
        ------
        OSError
            If a tile cannot be read.
        """
        tiles: dict[int, NDArray[np.uint8]] = {}
        for row in sorted(set(rows.tolist())):
            tiles[row] = self._tile(row)
        return torch.from_numpy(np.stack([tiles[row] for row in rows.tolist()]))

    def _tile(self, row: int) -> NDArray[np.uint8]:
        number = int(np.searchsorted(self._ends, row, side="right"))
        place = self.slides[number]
        index = int(place.indices[row - (int(self._ends[number - 1]) if number else 0)])
        grid = place.grid
        y, x = grid.corner(index)
        pixels = self.shelf.slide(place.name).read_square(
            y, x, grid.side, tile_px=grid.spec.tile_px, resampling=grid.spec.resampling
        )
        if not pixels.complete:
            raise OSError(
                f"A tile of slide {place.name!r} at {y}, {x} cannot be read. Repair the file, or leave the slide "
                "out of the table."
            )
        return pixels.array


def file_slides(table: SlideFiles, *, folders: tuple[Path, ...], seed: int) -> SlideTilesData:
    """Find the slides of a table and the tiles on their tissue.

    Raises
    ------
    FileNotFoundError
        If a table, a folder or a slide is missing.
    ValueError
        If the table is at fault, a class has fewer than two patients, or a slide has no known microns per pixel.
    """
    task = Classification(name=table.label, classes=table.classes)
    cohort = read_cohort(
        find_data(table.slides, folders=folders),
        find_data(table.clinical, folders=folders) if table.clinical else None,
        tasks=[task],
        rules=TableRules(
            patient_column=table.patient_column, filename_column=table.filename_column, unknown=table.unknown
        ),
    )
    spec = TileSpec(tile_um=Microns(table.tile_um), tile_px=TilePixels(table.tile_px))
    shelf = SlideShelf(find_data(table.slide_files, folders=folders), tile_px=table.tile_px)
    known = [patient for patient in cohort.patients if not math.isnan(patient.labels[0])]
    parts = held_apart(known, share=table.selection_share, classes=table.classes, seed=seed)
    random = np.random.default_rng([seed, 1])
    placed = {
        patient.name: [_placed(shelf, file, spec, table.tiles_per_slide, random) for file in patient.files]
        for patient in known
    }
    sides = {
        name: Sides(
            negative=_tiles(shelf, [s for p in patients if p.labels[0] == 0 for s in placed[p.name]]),
            positive=_tiles(shelf, [s for p in patients if p.labels[0] == 1 for s in placed[p.name]]),
        )
        for name, patients in parts.items()
    }
    return SlideTilesData(
        train=sides["train"],
        held_out=sides["selection"],
        spec=spec,
        facts=_facts(table, parts),
        notes=cohort.notes,
    )


def held_apart(
    patients: Sequence[Patient], *, share: float, classes: tuple[str, str], seed: int
) -> Mapping[str, list[Patient]]:
    """Return the patients that are learned from (``train``) and those that choose the best epoch (``selection``).

    Parameters
    ----------
    patients
        With known labels, 0 or 1.
    share
        Of the patients of each class, for selection; at least one patient, and at least one is left to learn from.
    classes
        Names of the two, for the error.
    seed
        Of the draw.

    Raises
    ------
    ValueError
        If a class has fewer than two patients.
    """
    random = np.random.default_rng(seed)
    chosen: set[str] = set()
    for code, word in enumerate(classes):
        own = [patient.name for patient in patients if patient.labels[0] == code]
        if len(own) < 2:
            raise ValueError(
                f"Expected at least two patients with {word!r}, one to learn from and one to choose the best epoch by; "
                f"found {len(own)}. Add slides to the table."
            )
        count = min(max(1, round(share * len(own))), len(own) - 1)
        chosen |= {own[place] for place in random.permutation(len(own))[:count]}
    return {
        "train": [patient for patient in patients if patient.name not in chosen],
        "selection": [patient for patient in patients if patient.name in chosen],
    }


def _placed(shelf: SlideShelf, name: str, spec: TileSpec, most: int, random: np.random.Generator) -> PlacedSlide:
    slide = shelf.slide(name)
    mpp = slide.resolution.mpp
    if mpp is None:
        raise ValueError(
            f"Slide {name!r} has no known microns per pixel, so its tiles cannot be {spec.tile_um:g} um wide. Write "
            "them into the file, or leave the slide out of the table."
        )
    grid = TileGrid.for_slide(
        height=slide.height, width=slide.width, mpp=mpp, spec=spec, native_tile=slide.tile_shape(0)
    )
    tissue = TissueMap.for_grid(slide.thumbnail(max_side=thumbnail_side(grid)), grid)
    indices = np.flatnonzero(tissue.ravel()).astype(np.int64)
    if most and len(indices) > most:
        indices = np.sort(random.choice(indices, most, replace=False))
    return PlacedSlide(name=name, grid=grid, indices=indices)


def _tiles(shelf: SlideShelf, slides: Sequence[PlacedSlide]) -> BagTiles:
    pool = SlideFilePool(shelf, slides)
    return BagTiles(pool=pool, rows=torch.arange(len(pool)))


def _facts(table: SlideFiles, parts: Mapping[str, Sequence[Patient]]) -> dict[str, str | int]:
    def counted(patients: Sequence[Patient]) -> str:
        numbers = [sum(len(p.files) for p in patients if p.labels[0] == code) for code in (0, 1)]
        return f"{numbers[0]} slides with {table.classes[0]!r}, {numbers[1]} with {table.classes[1]!r}"

    return {
        "data": f"slides of {table.slides}, by the column {table.label}",
        "training_slides": counted(parts["train"]),
        "selection_slides": counted(parts["selection"]),
        "labels": "one per slide; no label of a tile is used",
    }
