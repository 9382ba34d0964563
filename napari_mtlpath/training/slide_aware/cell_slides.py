"""Slides made up of single cells: some hold none of the witness type, some a few."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mtlpath.simulation.cells import CellSet
from napari_mtlpath.simulation.smear import TURNS, draw_cells
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.config.slide_aware import CellSlides
from napari_mtlpath.training.end_to_end.cell_pool import CellPool
from napari_mtlpath.training.end_to_end.tiles import BagTiles
from napari_mtlpath.training.slide_aware.slide_tiles import JudgedSlide, Sides, SlideTilesData
from napari_mtlpath.training.smears.smear_bags import cell_parts
from napari_mtlpath.units import Microns, TilePixels


@dataclass(frozen=True, kw_only=True, eq=False)
class CellSlide:
    """One slide: rows of a :class:`~napari_mtlpath.training.end_to_end.cell_pool.CellPool` of all cells, its truth."""

    rows: NDArray[np.int64]
    abnormal: NDArray[np.bool_]


def cell_slides(table: CellSlides, cells: CellSet, *, seed: int) -> SlideTilesData:
    """Compose the slides that a config describes; the same seed gives the same slides.

    Slides to learn from, held-out slides and judged slides are of three disjoint parts of the cells. Within each every
    cell is used once before any is used twice, and is then turned differently.

    Raises
    ------
    ValueError
        If there is no such cell type, a part lacks cells, or a positive slide would hold no witness.
    """
    pool = CellPool(cells, chosen=np.arange(len(cells)))
    is_witness = cells.is_class("cell_type", table.witness)
    counts = {"train": table.slides, "selection": table.held_out_slides, "test": 2 * table.test_slides}
    made = {
        name: list(
            slides_of(
                np.flatnonzero(chosen & is_witness),
                np.flatnonzero(chosen & ~is_witness),
                table,
                slides=counts[name],
                random=np.random.default_rng([seed, number]),
            )
        )
        for number, (name, chosen) in enumerate(cell_parts(cells).items())
    }
    return SlideTilesData(
        train=_sides(pool, made["train"]),
        held_out=_sides(pool, made["selection"]),
        spec=TileSpec(tile_um=Microns(table.tile_um), tile_px=TilePixels(cells.images.shape[1])),
        facts=_facts(table, made["train"]),
        judged=tuple(_judged(pool, slide) for slide in made["test"] if slide.abnormal.any()),
    )


def slides_of(
    witnesses: NDArray[np.int64],
    others: NDArray[np.int64],
    table: CellSlides,
    *,
    slides: int,
    random: np.random.Generator,
) -> Iterator[CellSlide]:
    """Yield slides, every other one positive, composed of the given cells.

    Parameters
    ----------
    witnesses, others
        Numbers of the cells of the witness type, and of all others.
    table
        Witness rate and cells per slide.
    slides
        How many.
    random
        Source of chance.

    Raises
    ------
    ValueError
        If cells are lacking, or the rate gives no witness on a slide.
    """
    if not len(witnesses) or not len(others):
        raise ValueError(
            f"Expected cells of type {table.witness!r} and others in every part of the archive; found none in one. "
            "Use an archive with more cells."
        )
    present = round(table.witness_rate * table.cells_per_slide)
    if present < 1:
        raise ValueError(
            f"Expected at least one {table.witness} on a positive slide; a rate of {table.witness_rate:g} of "
            f"{table.cells_per_slide} cells gives none. Raise data.witness_rate or data.cells_per_slide."
        )
    positives = slides // 2
    plain, plain_turns = draw_cells(others, slides * table.cells_per_slide - positives * present, random)
    rare, rare_turns = draw_cells(witnesses, positives * present, random)
    plain, rare = plain * TURNS + plain_turns, rare * TURNS + rare_turns
    plain, rare = random.permutation(plain), random.permutation(rare)
    for number in range(slides):
        found = present if number % 2 else 0
        (own, plain), (own_rare, rare) = _taken(plain, table.cells_per_slide - found), _taken(rare, found)
        order = random.permutation(table.cells_per_slide)
        yield CellSlide(
            rows=np.concatenate([own, own_rare])[order],
            abnormal=(np.arange(table.cells_per_slide) >= len(own))[order],
        )


def _taken(cells: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return cells[:count], cells[count:]


def _sides(pool: CellPool, slides: list[CellSlide]) -> Sides:
    rows = {
        positive: np.concatenate([slide.rows for slide in slides if bool(slide.abnormal.any()) == positive])
        for positive in (False, True)
    }
    tiles = {positive: BagTiles(pool=pool, rows=torch.from_numpy(each)) for positive, each in rows.items()}
    return Sides(negative=tiles[False], positive=tiles[True])


def _judged(pool: CellPool, slide: CellSlide) -> JudgedSlide:
    return JudgedSlide(
        tiles=BagTiles(pool=pool, rows=torch.from_numpy(slide.rows)), abnormal=torch.from_numpy(slide.abnormal)
    )


def _facts(table: CellSlides, slides: list[CellSlide]) -> dict[str, str | int]:
    positive = [slide for slide in slides if slide.abnormal.any()]
    rare = int(sum(slide.abnormal.sum() for slide in positive))
    return {
        "data": f"simulated slides of {table.cells_per_slide} real cells, from {table.archive}",
        "training_slides": f"{len(slides) - len(positive)} without and {len(positive)} with {table.witness}",
        "witness_rate": f"{table.witness_rate:.1%} of the cells of a positive slide: {rare} cells in all",
        "labels": "one per slide; no label of a cell is used",
    }
