"""Adam for the few numbers that a balancing method learns by itself, with its memory in buffers."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Kingma and Ba, 2015, arXiv:1412.6980, section 2.


class Adam(nn.Module):
    """Adam (Kingma and Ba, 2015, arXiv:1412.6980, algorithm 1) on one vector, without weight decay.

    Parameters
    ----------
    size
        Length of the vector.
    learning_rate
        Step size.
    """

    first: Tensor
    second: Tensor
    steps: Tensor

    def __init__(self, size: int, *, learning_rate: float) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.register_buffer("first", torch.zeros(size))
        self.register_buffer("second", torch.zeros(size))
        self.register_buffer("steps", torch.zeros(size))

    def step(self, values: Float[Tensor, " task"], gradient: Float[Tensor, " task"]) -> None:
        """Move `values` in place; where the gradient is NaN (a task absent from the batch) nothing moves."""
        known = ~gradient.isnan()
        given = gradient[known].to(self.first)
        self.steps[known] += 1.0
        self.first[known] = BETA1 * self.first[known] + (1.0 - BETA1) * given
        self.second[known] = BETA2 * self.second[known] + (1.0 - BETA2) * given.square()
        mean = self.first[known] / (1.0 - BETA1 ** self.steps[known])
        spread = (self.second[known] / (1.0 - BETA2 ** self.steps[known])).sqrt()
        values[known] -= (self.learning_rate * mean / (spread + EPSILON)).to(values)
