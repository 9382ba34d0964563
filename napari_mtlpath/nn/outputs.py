"""What an aggregator returns for one bag: one named type for every model."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskOutput:
    """One task's answer for one bag of N tiles.

    Attributes
    ----------
    logits
        The head's outputs, shape [output] (1 for a binary or regression task, K for K classes).
    embedding
        What the head read, shape [feature].
    routing
        Routing weights phi over the tiles of the bag, shape [tile], summing to 1, or None without a router.
    selected
        Which tiles the top-p rule kept, shape [tile], or None.
    attention
        Attention of the task's token (or pooling) over the tiles, shape [tile], summing to 1, or None.
    tile_logits
        The task's answer tile by tile, shape [tile, output], or None where the model does not give one.
    """

    logits: Float[Tensor, " output"]
    embedding: Float[Tensor, " feature"]
    routing: Float[Tensor, " tile"] | None = None
    selected: Bool[Tensor, " tile"] | None = None
    attention: Float[Tensor, " tile"] | None = None
    tile_logits: Float[Tensor, "tile output"] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class BagOutput:
    """All tasks' answers for one bag, keyed by task name in the model's order.

    `routing`, `selected` and `attention` are those of the block that was asked for (the last routed block by default).
    """

    tasks: dict[str, TaskOutput]
