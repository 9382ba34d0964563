"""What a network answers about the samples of a pool, and how good that is."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import nn

from napari_mtlpath.tasks import Classification
from napari_mtlpath.training.evaluation import Metric, accuracy, auc, majority
from napari_mtlpath.training.pool.parts import Part
from napari_mtlpath.training.pool.pictures import read_tiles
from napari_mtlpath.training.pool.task_pool import PoolTask, Samples

BATCH = 128

Features = Mapping[str, Float[NDArray[np.float32], "sample feature"]]
"""By task: embeddings of its samples, in their order."""


@torch.inference_mode()
def features_of(network: nn.Module, samples: Mapping[str, Samples], *, tile_px: int, device: torch.device) -> Features:
    """Return the embeddings of several tasks' samples by a network in evaluation mode; shared pictures are seen once.

    Parameters
    ----------
    network
        Takes uint8 tiles, returns [tile, feature].
    samples
        By task.
    """
    shared: dict[int, list[Samples]] = {}
    for each in samples.values():
        shared.setdefault(id(each.pictures), []).append(each)
    known: dict[int, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}
    for key, members in shared.items():
        wanted = np.unique(np.concatenate([each.items for each in members]))
        known[key] = wanted, _embed(network, members[0], wanted, tile_px=tile_px, device=device)
    found = {}
    for name, each in samples.items():
        wanted, features = known[id(each.pictures)]
        found[name] = features[np.searchsorted(wanted, each.items)]
    return found


def _embed(
    network: nn.Module, samples: Samples, wanted: NDArray[np.int64], *, tile_px: int, device: torch.device
) -> NDArray[np.float32]:
    pieces = []
    for start in range(0, len(wanted), BATCH):
        tiles = read_tiles(samples.pictures, wanted[start : start + BATCH].tolist(), tile_px=tile_px)
        pieces.append(network(tiles.to(device)).float().cpu().numpy())
    return np.concatenate(pieces)


def part_of(tasks: Iterable[PoolTask], part: Part) -> dict[str, Samples]:
    """Return the samples of one part, by task."""
    return {task.name: task.parts[part] for task in tasks}


def metric_of(task: Classification) -> tuple[str, Metric]:
    """Return how a task is judged: by the area under the ROC curve if it is binary, else by accuracy.

    (Mormont et al., 2021, section IV-D.)
    """
    return ("auc", auc) if task.is_binary else ("accuracy", accuracy)


def answers_of(task: Classification, logits: Float[NDArray, "sample output"]) -> Float[NDArray, " sample"]:
    """Return what the task's metric takes: the logit of a binary task, else the index of the likeliest class."""
    return (logits[:, 0] if task.is_binary else logits.argmax(1)).astype(np.float64)


def floor_of(task: PoolTask, part: Part) -> float:
    """Return the metric of the trivial answer: 0.5, or the accuracy of the training part's most frequent class."""
    if task.task.is_binary:
        return 0.5
    return float(np.mean(task.parts[part].labels == majority(task.parts[Part.TRAIN].labels)))


def can_be_judged(task: PoolTask, part: Part) -> bool:
    """Whether a part has at least two of the task's classes."""
    return len(np.unique(task.parts[part].labels)) > 1
