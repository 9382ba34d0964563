"""Tiles and bags cut from stain-separated sections, the upper part for training, the lower part for validation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.config.data import StainedTiles
from napari_mtlpath.training.stains.stains import STAIN_TASKS, StainedImage
from napari_mtlpath.training.tile_training.tile_data import LabelledTiles, TileData
from napari_mtlpath.units import Microns, TilePixels

TRAIN_SHARE = 0.6
"""The upper 60 % of each section's rows are for training; a gap of one tile keeps crops from reaching across."""

BARE_SHARE = 0.15
"""Largest share of tiles without any labelled pixel: most of a slide is bare glass, and says nothing."""

SEED = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Sides:
    """The training and the validation part of every section."""

    train: tuple[StainedImage, ...]
    validation: tuple[StainedImage, ...]


def spatial_sides(sections: Sequence[StainedImage], *, gap_px: int) -> Sides:
    """Split each section by rows, with `gap_px` rows between the sides that belong to neither."""
    cuts = [round(section.pixels.shape[0] * TRAIN_SHARE) for section in sections]
    return Sides(
        train=tuple(section.part(rows=slice(0, cut)) for section, cut in zip(sections, cuts, strict=True)),
        validation=tuple(
            section.part(rows=slice(cut + gap_px, None)) for section, cut in zip(sections, cuts, strict=True)
        ),
    )


def stained_tiles(table: StainedTiles, sections: Sequence[StainedImage]) -> TileData:
    """Return random crops of both sides, as many of each section, labelled by the share of pixels that count."""
    sides = spatial_sides(sections, gap_px=table.tile_px)
    count = table.tiles_per_epoch
    return TileData(
        tasks=STAIN_TASKS,
        train=random_tiles(sides.train, count=count, side=table.tile_px, seed=SEED),
        validation=random_tiles(sides.validation, count=max(1, count // 4), side=table.tile_px, seed=SEED + 1),
        spec=TileSpec(tile_um=Microns(table.tile_um), tile_px=TilePixels(table.tile_px)),
        averaged=tuple(task.name for task in STAIN_TASKS),
        facts={
            "data": f"{count} random crops of {', '.join(section.name for section in sections)}",
            "split": f"by place: the upper {TRAIN_SHARE:.0%} of each section trains, the rest but for a gap validates",
            "labels": "stain separation (share of pixels above Otsu's threshold), no pathologist",
        },
    )


def random_tiles(sections: Sequence[StainedImage], *, count: int, side: int, seed: int) -> LabelledTiles:
    """Draw crops at random places, in turn from each section; few of them bare."""
    random = np.random.default_rng(seed)
    tiles: list[NDArray[np.uint8]] = []
    labels: list[list[float]] = []
    bare = 0
    while len(tiles) < count:
        section = sections[len(tiles) % len(sections)]
        height, width = section.pixels.shape[:2]
        y, x = int(random.integers(0, height - side + 1)), int(random.integers(0, width - side + 1))
        label = tile_label(section, y, x, side)
        is_bare = not any(label)
        if is_bare and bare >= BARE_SHARE * (len(tiles) + 1):
            continue
        bare += is_bare
        tiles.append(section.pixels[y : y + side, x : x + side])
        labels.append(label)
    return LabelledTiles(tiles=torch.from_numpy(np.stack(tiles)), labels=torch.tensor(labels, dtype=torch.float32))


def tile_label(section: StainedImage, y: int, x: int, side: int) -> list[float]:
    """Return the share of a crop's pixels that count, per task."""
    return [float(section.masks[task.name][y : y + side, x : x + side].mean()) for task in STAIN_TASKS]


@dataclass(frozen=True, kw_only=True, eq=False)
class TileField:
    """A section's part laid out in whole tiles.

    Attributes
    ----------
    tiles
        RGB crops in reading order, uint8 [tile, y, x, 3].
    labels
        Shares per tile, [tile, task].
    rows, columns
        Size of the grid.
    """

    tiles: NDArray[np.uint8]
    labels: Float[NDArray, "tile task"]
    rows: int
    columns: int


def tile_fields(section: StainedImage, *, side: int, offsets: Sequence[tuple[int, int]]) -> Iterator[TileField]:
    """Yield a section's grid of tiles at every offset (y, x) in pixels; grids without a whole tile are left out."""
    height, width = section.pixels.shape[:2]
    for top, left in offsets:
        corners = [(y, x) for y in range(top, height - side + 1, side) for x in range(left, width - side + 1, side)]
        if corners:
            yield TileField(
                tiles=np.stack([section.pixels[y : y + side, x : x + side] for y, x in corners]),
                labels=np.array([tile_label(section, y, x, side) for y, x in corners], dtype=np.float32),
                rows=(height - top) // side,
                columns=(width - left) // side,
            )
