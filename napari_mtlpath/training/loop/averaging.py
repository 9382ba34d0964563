"""A running average of a module's weights, which validates better than the last step's."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of a state dict (Polyak and Juditsky, 1992), with a short memory at the start.

    Parameters
    ----------
    module
        Its present state starts the average.
    decay
        Share of the old average kept per step, 0 (no averaging) to below 1.
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.state = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's present weights; counters are copied."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1.0 - decay)
            else:
                self.state[name].copy_(value)

    @contextlib.contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Give `module` the averaged weights for the duration of the block."""
        own = clone_state(module)
        module.load_state_dict(self.state)
        try:
            yield
        finally:
            module.load_state_dict(own)


def clone_state(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the module's state that later steps do not change."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def round_to_float16(module: nn.Module) -> None:
    """Round the weights to what float16 storage keeps, so that what is measured is what is saved."""
    state = module.state_dict()
    module.load_state_dict({name: v.half().to(v.dtype) if v.is_floating_point() else v for name, v in state.items()})
