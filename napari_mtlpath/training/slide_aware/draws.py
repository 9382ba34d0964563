"""The tiles of one step and their four views: two of each side."""

from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor

from napari_mtlpath.training.slide_aware.slide_tiles import Sides
from napari_mtlpath.training.slide_aware.views import Views
from napari_mtlpath.training.slide_aware.visits import Visit

MOST_TILES = 256
"""Held-out tiles of each side that an epoch is judged by, whatever the cohort's size."""

SEED = 0
"""Of the choice of these tiles and of their views."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Draw:
    """What one step sees, and of which tiles."""

    sides: Sides
    visit: Visit


@dataclass(frozen=True, kw_only=True, eq=False)
class FourViews:
    """Two views of each tile, of slide-negative tiles and of slide-positive ones."""

    negative: tuple[UInt8[Tensor, "negative side side 3"], UInt8[Tensor, "negative side side 3"]]
    positive: tuple[UInt8[Tensor, "positive side side 3"], UInt8[Tensor, "positive side side 3"]]

    @property
    def together(self) -> UInt8[Tensor, "view side side 3"]:
        """All of them in one batch."""
        return torch.cat([*self.negative, *self.positive])


def held_out_draw(sides: Sides) -> Draw:
    """Return the same tiles, and with :func:`four_views` the same views of them, each time."""
    generator = torch.Generator().manual_seed(SEED)
    negative, positive = (
        torch.randperm(len(tiles.rows), generator=generator)[:MOST_TILES] for tiles in (sides.negative, sides.positive)
    )
    return Draw(sides=sides, visit=Visit(negative=negative, positive=positive, seed=SEED))


def four_views(draw: Draw, views: Views, *, plain: bool = True) -> FourViews:
    """Read the tiles of a step and make their views.

    Parameters
    ----------
    plain
        Whether the first view of a slide-negative tile is its middle as it is; else it is changed at random, too.
    """
    generator = torch.Generator().manual_seed(draw.visit.seed)
    negative, positive = (
        tiles.pool.read(tiles.rows[places])
        for tiles, places in (
            (draw.sides.negative, draw.visit.negative),
            (draw.sides.positive, draw.visit.positive),
        )
    )
    return FourViews(
        negative=(
            views.middle(negative) if plain else views.random(negative, generator),
            views.random(negative, generator),
        ),
        positive=(views.random(positive, generator), views.random(positive, generator)),
    )
