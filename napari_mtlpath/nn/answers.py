"""What a model answers about one bag, as numpy arrays: the same whatever library computed it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskAnswer:
    """One task's answer for one bag of N tiles, on the CPU; see :class:`napari_mtlpath.nn.outputs.TaskOutput`.

    Attributes
    ----------
    logits
        The head's outputs, float64 [output].
    routing, attention
        Weights over the tiles, float32 [tile], each summing to 1; None where the model has none.
    selected
        Tiles that the top-p rule kept, [tile], or None.
    tile_logits
        The task's answer tile by tile, float32 [tile, output], or None.
    """

    logits: NDArray[np.float64]
    routing: NDArray[np.float32] | None = None
    selected: NDArray[np.bool_] | None = None
    attention: NDArray[np.float32] | None = None
    tile_logits: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class BagAnswer:
    """All tasks' answers for one bag, by name, in the model's order."""

    tasks: Mapping[str, TaskAnswer]
