"""A state of torch's global random numbers that a training has to itself."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

CPU = torch.device("cpu")


class PrivateRandom:
    """Random numbers of dropout and stochastic depth, which draw from torch's global state (on CUDA, the device's).

    Between the loop's yields other code runs in the same process; ``with random.active():`` swaps the training's own
    state in and out, so that neither disturbs the other.

    Parameters
    ----------
    seed
        Of the first state.
    device
        Where the module lives.
    """

    def __init__(self, seed: int, *, device: torch.device = CPU) -> None:
        self.device = device
        self.states = {"cpu": torch.Generator().manual_seed(seed).get_state()}
        if device.type == "cuda":
            self.states["cuda"] = torch.Generator(device).manual_seed(seed).get_state()

    def load(self, states: Mapping[str, Tensor]) -> None:
        """Take over states that were kept, those of kinds of devices that both have."""
        self.states |= {kind: state for kind, state in states.items() if kind in self.states}

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Swap the private state in for the duration of the block."""
        outer = self.now()
        self.restore(self.states)
        try:
            yield
        finally:
            self.states = self.now()
            self.restore(outer)

    def now(self) -> dict[str, Tensor]:
        """Return the global state as it is."""
        now = {"cpu": torch.get_rng_state()}
        return now | {"cuda": torch.cuda.get_rng_state(self.device)} if self.device.type == "cuda" else now

    def restore(self, states: Mapping[str, Tensor]) -> None:
        """Make `states` the global state."""
        torch.set_rng_state(states["cpu"])
        if "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], self.device)
