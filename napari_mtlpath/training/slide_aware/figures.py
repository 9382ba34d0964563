"""Figures of slide-aware pre-training: on held-out slides, and on unseen ones of which each tile is known."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_mtlpath.evaluation.retrieval import card_row, retrieve, summarise
from napari_mtlpath.training.bags.bags import CardMetrics
from napari_mtlpath.training.end_to_end.tiles import BagTiles
from napari_mtlpath.training.slide_aware.collapse import spread
from napari_mtlpath.training.slide_aware.draws import four_views, held_out_draw
from napari_mtlpath.training.slide_aware.losses import told_apart
from napari_mtlpath.training.slide_aware.projections import Projections
from napari_mtlpath.training.slide_aware.slide_tiles import SlideTilesData
from napari_mtlpath.training.slide_aware.views import Views

REFERENCE_TILES = 1024
"""Tiles of slide-negative slides whose mean direction stands for what is usual."""

PIECE = 64
"""Tiles embedded at a time."""

LOOKED_AT = (10, 50)
"""Values of K on the card."""

Embed = Callable[[Tensor], Tensor]
"""RGB tiles [tile, y, x, 3] of uint8 -> embeddings [tile, feature]."""


def held_out_metrics(projections: Projections, losses: Mapping[str, Tensor]) -> dict[str, float]:
    """Return what an epoch is judged by, from two views of held-out tiles.

    ``told_apart`` is the share of views of slide-positive tiles whose nearest other view is of the same tile;
    ``spread`` is that of all projections, ``spread_negative`` and ``spread_positive`` that of either side's (see
    :func:`napari_mtlpath.training.slide_aware.collapse.spread`).
    """
    negative, positive = torch.cat(projections.negative), torch.cat(projections.positive)
    return {
        "told_apart": told_apart(*projections.positive),
        "spread": float(spread(torch.cat([negative, positive]))),
        "spread_negative": float(spread(negative)),
        "spread_positive": float(spread(positive)),
        **{name: float(loss) for name, loss in losses.items()},
    }


def card_figures(data: SlideTilesData, views: Views, embed: Embed) -> CardMetrics:
    """Return the figures for a card, of the encoder as it is released.

    Parameters
    ----------
    data
        Whose held-out tiles are told apart, and whose judged slides are ranked if there are any: by how far a tile is
        from the mean of slide-negative tiles.
    views
        How views of held-out tiles are made.
    embed
        The encoder.
    """
    made = four_views(held_out_draw(data.held_out), views)
    with torch.inference_mode():
        first, second = (_embedded(torch.split(each, PIECE), embed) for each in made.positive)
    groups: CardMetrics = {
        "held-out tiles of positive slides": {
            "told_apart": round(told_apart(first, second), 4),
            "told_apart_floor": round(1 / (2 * len(first) - 1), 4),
            "spread": round(float(spread(torch.cat([first, second]))), 4),
            "spread_floor": 0.0,  # that of a point
        }
    }
    if data.judged:
        usual = usual_direction(data.train.negative, embed)
        found = [(1 - _directions(slide.tiles, embed) @ usual, slide.abnormal) for slide in data.judged]
        name = "abnormal tiles of unseen slides, by distance from slide-negative tiles"
        groups[name] = {}
        for k in LOOKED_AT:
            retrieved = [retrieve(_array(scores), abnormal.numpy(), k=k) for scores, abnormal in found]
            groups[name] |= card_row(summarise(retrieved, k=k))
    return groups


def usual_direction(tiles: BagTiles, embed: Embed) -> Float[Tensor, " feature"]:
    """Return the mean direction of the embeddings of tiles of slide-negative slides, of length 1."""
    step = max(1, len(tiles.rows) // REFERENCE_TILES)
    places = torch.arange(0, len(tiles.rows), step)[:REFERENCE_TILES]
    return functional.normalize(_directions(tiles.only(places), embed).mean(0), dim=0)


@torch.inference_mode()
def _directions(tiles: BagTiles, embed: Embed) -> Float[Tensor, "tile feature"]:
    parts = (tiles.pool.read(rows) for rows in torch.split(tiles.rows, PIECE))
    return functional.normalize(_embedded(parts, embed), dim=1)


def _embedded(parts: Iterable[Tensor], embed: Embed) -> Float[Tensor, "tile feature"]:
    return torch.cat([embed(part).float().cpu() for part in parts])


def _array(scores: Tensor) -> NDArray[np.float64]:
    return scores.double().numpy()
