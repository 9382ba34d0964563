"""What an aggregator returns for one bag: one named type for every model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Criterion: TypeAlias = Callable[[Float[Tensor, " output"], Float[Tensor, ""]], Float[Tensor, ""]]
"""A task's loss of one bag as its trainer computes it: (logits, known label) -> scalar."""

Auxiliary: TypeAlias = Callable[[Float[Tensor, ""], Criterion], Float[Tensor, ""]]
"""A further loss of one bag: (known label, the task's criterion) -> scalar, already weighted."""


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
    auxiliary
        A further loss of this bag that the method trains by (CLAM's instance loss, DSMIL's two streams), given in
        training mode only. A trainer adds it to the task's own loss where the bag's label is known; see
        :func:`auxiliary_losses`.
    """

    logits: Float[Tensor, " output"]
    embedding: Float[Tensor, " feature"]
    routing: Float[Tensor, " tile"] | None = None
    selected: Bool[Tensor, " tile"] | None = None
    attention: Float[Tensor, " tile"] | None = None
    tile_logits: Float[Tensor, "tile output"] | None = None
    auxiliary: Auxiliary | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class BagOutput:
    """All tasks' answers for one bag, keyed by task name in the model's order.

    `routing`, `selected` and `attention` are those of the block that was asked for (the last routed block by default).
    """

    tasks: dict[str, TaskOutput]


def auxiliary_losses(
    outputs: Sequence[BagOutput], labels: Float[Tensor, "bag task"], criteria: Mapping[str, Criterion]
) -> dict[str, Float[Tensor, ""]]:
    """Return what a trainer adds to each task's loss: its auxiliary losses' mean over the bags that have a label.

    Parameters
    ----------
    outputs
        One per bag, from a model in training mode.
    labels
        Class index or value, NaN where unknown; columns in the order of the outputs' tasks.
    criteria
        Each task's loss of one bag, by name.

    Returns
    -------
    dict
        By task; tasks without an auxiliary loss or without a label here are absent.
    """
    losses = {}
    for column, name in enumerate(outputs[0].tasks if outputs else ()):
        terms = [
            auxiliary(label, criteria[name])
            for output, label in zip(outputs, labels[:, column], strict=True)
            if (auxiliary := output.tasks[name].auxiliary) is not None and not bool(label.isnan())
        ]
        if terms:
            losses[name] = torch.stack(terms).mean()
    return losses
