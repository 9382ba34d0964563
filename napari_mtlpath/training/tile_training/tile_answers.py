"""What a multi-head encoder answers about tiles."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from napari_mtlpath.tasks import Classification, Task
from napari_mtlpath.training.tile_training.augment import turned_tiles
from napari_mtlpath.training.tile_training.multi_head import MultiHead
from napari_mtlpath.training.tile_training.tile_data import LabelledTiles

VALIDATION_BATCH = 128


@torch.inference_mode()
def answer_tiles(
    module: MultiHead, tasks: Sequence[Task], side: LabelledTiles, *, device: torch.device, turns: int = 1
) -> Float[NDArray, "tile task"]:
    """Return each task's answer for every tile: the class index, or the value.

    With `turns` of 8 the logits are averaged over the eight ways that a tile can lie, at eight times the cost.
    """
    columns: dict[str, list[NDArray[np.float64]]] = {task.name: [] for task in tasks}
    for start in range(0, len(side.tiles), VALIDATION_BATCH):
        tiles = side.tiles[start : start + VALIDATION_BATCH].to(device)
        laid = [module(turned_tiles(tiles, turn)) for turn in range(turns)]
        for task in tasks:
            columns[task.name].append(decide(task, torch.stack([logits[task.name] for logits in laid]).mean(0)))
    return np.stack([np.concatenate(columns[task.name]) for task in tasks], axis=1)


def decide(task: Task, logits: Float[Tensor, "tile output"]) -> NDArray[np.float64]:
    """Return the class index (at a probability of 0.5 for a binary task), or the value of a regression task."""
    if not isinstance(task, Classification):
        answer = logits[:, 0]
    elif task.is_binary:
        answer = logits[:, 0] > 0
    else:
        answer = logits.argmax(1)
    return answer.double().cpu().numpy()
