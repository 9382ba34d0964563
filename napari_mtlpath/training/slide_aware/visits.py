"""Which tiles a step sees: every tile of both sides once per epoch, in batches of one mixture."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Visit:
    """What one step sees.

    Attributes
    ----------
    negative, positive
        Numbers of tiles of slide-negative and of slide-positive slides.
    seed
        Of all chance in making their views.
    """

    negative: Int64[Tensor, " negative"]
    positive: Int64[Tensor, " positive"]
    seed: int


def steps_of(negative: int, positive: int, *, batch: int) -> int:
    """Return in how many steps all tiles are seen with about `batch` tiles each."""
    return max(1, round((negative + positive) / batch))


def visits(negative: int, positive: int, *, steps: int, generator: torch.Generator) -> Iterator[Visit]:
    """Yield the steps of one epoch: each tile of both sides exactly once, the sides mixed in proportion everywhere.

    Parameters
    ----------
    negative, positive
        How many tiles each side has.
    steps
        How many steps the epoch has; their sizes differ by at most one tile per side.
    generator
        Source of chance.
    """
    seeds = torch.randint(2**62, (steps,), generator=generator).tolist()
    sides = [torch.randperm(count, generator=generator).tensor_split(steps) for count in (negative, positive)]
    for first, second, seed in zip(*sides, seeds, strict=True):
        yield Visit(negative=first, positive=second, seed=seed)
