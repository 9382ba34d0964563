"""Cross-task attention between the coarsest features of two tasks."""

import math
from enum import StrEnum
from typing import assert_never

from jaxtyping import Float
from torch import Tensor


class Bottleneck(StrEnum):
    r"""How a task's coarsest features E_t are joined with another's, E_t' (Kim et al., 2023, eq. 2).

    The published formula, :math:`\bar A_t = E_t (E_{t'}^T E_t)`, has no softmax and no scale, does not say which axis
    is which, and puts the other task on the values' index, while the text calls it the query.

    Attributes
    ----------
    ATTENTION
        As the text says, made safe: the other task's positions are queries, the task's own are keys and values,
        :math:`\bar A_t = E_t + E_t \, softmax(E_{t'}^T E_t / \sqrt C)^T`, the softmax over the keys.
    LITERAL_SPATIAL
        The formula with E as [channel, position]: a matrix of positions; cubic in E.
    LITERAL_CHANNEL
        The formula with E as [position, channel]: a matrix of channels; cubic in E.
    NONE
        E_t as it is, to see what this part is worth.
    """

    ATTENTION = "attention"
    LITERAL_SPATIAL = "literal_spatial"
    LITERAL_CHANNEL = "literal_channel"
    NONE = "none"


def attended(
    own: Float[Tensor, "tile channel y x"], other: Float[Tensor, "tile channel y x"], *, mode: Bottleneck
) -> Float[Tensor, "tile channel y x"]:
    """Return a task's coarsest features after they met those of another task (or the mean of the others)."""
    mine, theirs = own.flatten(2), other.flatten(2)  # [tile, channel, position]
    match mode:
        case Bottleneck.ATTENTION:
            scores = theirs.transpose(1, 2) @ mine / math.sqrt(mine.shape[1])  # [tile, query, key]
            joined = mine + mine @ scores.softmax(dim=2).transpose(1, 2)
        case Bottleneck.LITERAL_SPATIAL:
            joined = mine @ (theirs.transpose(1, 2) @ mine)
        case Bottleneck.LITERAL_CHANNEL:
            joined = (mine.transpose(1, 2) @ (theirs @ mine.transpose(1, 2))).transpose(1, 2)
        case Bottleneck.NONE:
            return own
        case _:
            assert_never(mode)
    return joined.reshape(own.shape)
