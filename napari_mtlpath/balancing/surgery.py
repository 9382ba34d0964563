"""Gradient surgery on inner products, for the methods that build on it."""

import torch
from jaxtyping import Float64
from torch import Tensor
from torchjd.aggregation import PCGradWeighting

from napari_mtlpath.balancing.chance import fresh_seed


def projected(gramian: Float64[Tensor, "task task"], generator: torch.Generator) -> Float64[Tensor, " task"]:
    """Return the weights of the sum of gradients that were each projected against the others, in random order.

    The library draws from torch's global generator: that is forked, and seeded from `generator`.
    """
    seed = fresh_seed(generator)
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would seed the accelerators too, where nothing is forked.
        torch.default_generator.manual_seed(seed)
        return PCGradWeighting()(gramian)
