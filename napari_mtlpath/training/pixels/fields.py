"""Simulated fields: windows over several tiles laid side by side, so that cells are neither single nor centred."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from napari_mtlpath.training.losses.pixels import UNKNOWN_PIXEL
from napari_mtlpath.training.pixels.pixel_data import LabelledPixels
from napari_mtlpath.training.tile_training.augment import TURNS, turned_tiles

MOST = 0.8
"""A tile's labels still hold for a window that shows most of its object, and little of others'."""


def fields_of(tiles: LabelledPixels, chosen: Int[Tensor, " window"], generator: torch.Generator) -> LabelledPixels:
    """Return one window per chosen tile: over that tile and three others by chance, 2 x 2, each turned by chance.

    Windows have the size of a tile and lie anywhere over the tile's own place. Masks are cut alike. Labels of the whole
    tile hold where the window shows at least 80 % of its object (all that is not background in its masks) and that is
    at least 80 % of what objects the window shows; they are unknown elsewhere. As on simulated smears, tiles meet at
    seams, which carry no label.
    """
    count, side = len(chosen), tiles.tiles.shape[1]
    others = torch.randint(len(tiles), (count, 3), generator=generator)
    quarters = torch.cat([chosen.unsqueeze(1), others], dim=1).flatten()
    turns = torch.randint(TURNS, (len(quarters),), generator=generator)
    # The chosen tile is the upper left one; windows slide right and down, and mirroring the whole evens that out.
    offsets = torch.randint(side, (count, 2), generator=generator)
    whole = torch.randint(TURNS, (count,), generator=generator)

    def windows(images: Tensor, *, alone: bool = False) -> Tensor:
        laid = laid_down(images[quarters], turns).reshape(count, 4, *images.shape[1:])
        if alone:
            laid[:, 1:] = 0
        canvas = torch.cat([torch.cat([laid[:, 0], laid[:, 1]], 2), torch.cat([laid[:, 2], laid[:, 3]], 2)], 1)
        cut = [each[y : y + side, x : x + side] for each, (y, x) in zip(canvas, offsets.tolist(), strict=True)]
        return laid_down(torch.stack(cut), whole)

    objects = _objects(tiles)
    own = windows(objects, alone=True).sum((1, 2))
    all_of_it, shown = objects[chosen].sum((1, 2)), windows(objects).sum((1, 2))
    labels = tiles.labels[chosen].clone()
    labels[(own < MOST * all_of_it) | (own < MOST * shown) | (own == 0)] = torch.nan
    return LabelledPixels(
        tiles=windows(tiles.tiles),
        pixels={name: windows(each) for name, each in tiles.pixels.items()},
        labels=labels,
        groups=tuple(tiles.groups[number] for number in chosen.tolist()),
    )


def _objects(tiles: LabelledPixels) -> Bool[Tensor, "tile y x"]:
    """Return what is not background in any mask of classes."""
    found = torch.zeros(tiles.tiles.shape[:3], dtype=torch.bool)
    for mask in tiles.pixels.values():
        if mask.dtype == torch.uint8:
            found |= (mask > 0) & (mask != UNKNOWN_PIXEL)
    return found


def laid_down(images: Tensor, turns: Int[Tensor, " image"]) -> Tensor:
    """Return square images or masks [image, y, x, ...] laid down in one of eight ways each."""
    laid = torch.empty_like(images)
    for turn in range(TURNS):
        ways = turns == turn
        laid[ways] = turned_tiles(images[ways], turn)
    return laid
