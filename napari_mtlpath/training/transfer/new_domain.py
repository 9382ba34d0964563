"""Features of a set that an encoder was not made for, as the encoder is or normalised by the new set's pictures."""

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from napari_mtlpath.training.pool.adapt_norms import batch_norms, retake_batch_norms
from napari_mtlpath.training.pool.parts import Part
from napari_mtlpath.training.pool.pictures import read_tiles
from napari_mtlpath.training.pool.pool_answers import BATCH, Features, features_of, part_of
from napari_mtlpath.training.pool.task_pool import PoolTask, Samples

ADAPTED = "batch norms by the new set"
"""How a method is called that saw such features."""


def transfer_features(
    network: nn.Module,
    tasks: Sequence[PoolTask],
    *,
    parts: Sequence[Part],
    tile_px: int,
    device: torch.device,
    adapt_norms: bool = False,
) -> dict[Part, Features]:
    """Return the embeddings of tasks' samples by part.

    Parameters
    ----------
    network
        Takes uint8 tiles, returns [tile, feature]; in evaluation mode, and not changed.
    tasks
        The tasks to transfer to.
    parts
        Which parts.
    tile_px, device
        Side of a tile, and where the network is.
    adapt_norms
        Give a copy of the network, for each set, batch norms with the statistics of the set's training pictures.
    """
    found: dict[Part, dict[str, np.ndarray]] = {part: {} for part in parts}
    for related in dict.fromkeys(task.related for task in tasks):
        members = [task for task in tasks if task.related == related]
        own = network
        if adapt_norms and batch_norms(network):
            own = copy.deepcopy(network)
            retake_batch_norms(own, _batches(part_of(members, Part.TRAIN), tile_px=tile_px, device=device))
        for part in parts:
            found[part] |= features_of(own, part_of(members, part), tile_px=tile_px, device=device)
    return dict(found)


def _batches(samples: Mapping[str, Samples], *, tile_px: int, device: torch.device) -> list[torch.Tensor]:
    """Return the pictures of some tasks, each once, in batches of about one size."""
    wanted: dict[int, tuple[Samples, set[int]]] = {}
    for each in samples.values():
        wanted.setdefault(id(each.pictures), (each, set()))[1].update(each.items.tolist())
    tiles = torch.cat([read_tiles(each.pictures, sorted(items), tile_px=tile_px) for each, items in wanted.values()])
    mixed = tiles[torch.randperm(len(tiles), generator=torch.Generator().manual_seed(0))]
    return [batch.to(device) for batch in mixed.tensor_split(-(-len(mixed) // BATCH))]
