"""Random numbers on any device from one generator on the CPU."""

import torch
from torch import Tensor

SEEDS = 2**62


def fresh_seed(generator: torch.Generator) -> int:
    """Return a seed drawn from `generator`."""
    return int(torch.randint(SEEDS, (1,), generator=generator).item())


def uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    """Return uniform numbers in [0, 1) of the shape, type and device of `like`.

    On an accelerator they come from a generator there, seeded from `generator`: its stream differs from the CPU's.
    """
    if like.device.type == "cpu":
        return torch.rand(like.shape, dtype=like.dtype, generator=generator)
    there = torch.Generator(like.device).manual_seed(fresh_seed(generator))
    return torch.rand(like.shape, dtype=like.dtype, device=like.device, generator=there)
