"""Tiles through an encoder whose weights change: piece by piece, so that memory does not grow with the bag."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from napari_mtlpath.encoders.tile_network import forget_what_was_computed
from napari_mtlpath.training.end_to_end.tiles import BagTiles, TilePool
from napari_mtlpath.training.step.small_images import exact_on_small_images


def learned_features(network: nn.Module, tiles: BagTiles, *, piece: int) -> Float[Tensor, "tile feature"]:
    """Return the embeddings of a bag's tiles, with a graph that keeps neither pixels nor activations.

    Each piece is read and computed again in the backward pass (gradient checkpointing: Chen et al., 2016,
    arXiv:1604.06174), so that the memory is that of one piece and of the embeddings. The network must be in evaluation
    mode: then both passes give the same numbers.

    Parameters
    ----------
    network
        Takes uint8 tiles [tile, y, x, 3].
    tiles
        What is embedded.
    piece
        Tiles at a time.
    """

    def embed(rows: Int64[Tensor, " tile"]) -> Float[Tensor, "tile feature"]:
        return _embedded(network, tiles.pool, rows)

    parts = [
        checkpoint(embed, rows, use_reentrant=False, preserve_rng_state=False)
        for rows in torch.split(tiles.rows, piece)
    ]
    return torch.cat(parts)


class FreshFeatures:
    """Embeddings by an encoder as it is now, without a graph; those of shared pools are kept. Make one anew per step.

    Parameters
    ----------
    network
        In evaluation mode; its weights must not change while this object is used.
    piece
        Tiles at a time.
    """

    def __init__(self, network: nn.Module, *, piece: int) -> None:
        self.network = network
        self.piece = piece
        self._kept: dict[TilePool, Tensor] = {}
        self._known: dict[TilePool, Tensor] = {}

    @torch.no_grad()
    def of(self, tiles: BagTiles) -> Float[Tensor, "tile feature"]:
        """Return the embeddings of a bag's tiles."""
        if not tiles.pool.shared:
            return self._embed(tiles.pool, tiles.rows)
        known = self._known.setdefault(tiles.pool, torch.zeros(len(tiles.pool), dtype=torch.bool))
        wanted = torch.from_numpy(np.unique(tiles.rows.numpy()))
        missing = wanted[~known[wanted]]
        if len(missing):
            made = self._embed(tiles.pool, missing)
            features = self._kept.setdefault(tiles.pool, made.new_empty(len(tiles.pool), made.shape[1]))
            features[missing.to(made.device)] = made
            known[missing] = True
        features = self._kept[tiles.pool]
        return features[tiles.rows.to(features.device)]

    def _embed(self, pool: TilePool, rows: Int64[Tensor, " tile"]) -> Float[Tensor, "tile feature"]:
        return torch.cat([_embedded(self.network, pool, part) for part in torch.split(rows, self.piece)])


def _embedded(network: nn.Module, pool: TilePool, rows: Int64[Tensor, " tile"]) -> Float[Tensor, "tile feature"]:
    place = next(network.parameters()).device
    with _without_memory(network), exact_on_small_images():  # again here: pieces are computed again without their step
        features: Tensor = network(pool.read(rows).to(place))
        return features.float()


@contextlib.contextmanager
def _without_memory(network: nn.Module) -> Iterator[None]:
    """Let a network keep nothing that follows from its weights, before or after: they are about to change."""
    forget_what_was_computed(network)
    try:
        yield
    finally:
        forget_what_was_computed(network)
