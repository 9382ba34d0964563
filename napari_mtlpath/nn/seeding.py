"""Reproducible starting weights from an explicit generator."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def initialised_by(generator: torch.Generator | None) -> Iterator[None]:
    """Let modules made inside draw their weights from `generator`, leaving torch's global one as it was.

    With None the global generator is used, as everywhere in torch.
    """
    if generator is None:
        yield
        return
    seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device).item())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
