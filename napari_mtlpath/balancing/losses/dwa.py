"""DWA: a task whose loss falls slowly gets more weight."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from napari_mtlpath.balancing.contract import LossBalancer


class DWA(LossBalancer):
    r"""Dynamic weight average (Liu et al., 2019, arXiv:1803.10704, eq. 7).

    :math:`w_i = K \, softmax_i(r_i / T)` with :math:`r_i = \bar L_i(t-1) / \bar L_i(t-2)`, the ratio of the task's mean
    unweighted training loss of the last two epochs; 1 in the first two epochs. A task without two known means counts as
    standing still (r = 1).

    Parameters
    ----------
    temperature
        T: the larger, the more even the weights.

    Examples
    --------
    >>> method = DWA(["slow", "fast"])
    >>> method.epoch_ended({"slow": 1.0, "fast": 1.0})
    >>> method.epoch_ended({"slow": 1.0, "fast": 0.5})
    >>> weighted = method({"slow": torch.tensor(1.0), "fast": torch.tensor(1.0)})
    >>> weighted["slow"] > weighted["fast"]
    tensor(True)
    """

    means: Tensor

    def __init__(self, tasks: Sequence[str], temperature: float = 2.0) -> None:
        super().__init__(tasks)
        if not temperature > 0.0:
            raise ValueError(f"Option 'temperature' of dwa must be above 0; found {temperature!r}.")
        self.temperature = temperature
        self.register_buffer("means", torch.full((2, len(self.tasks)), math.nan))

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Multiply each loss by its weight."""
        before, last = self.means.cpu().double()
        ratios = last / before
        ratios = torch.where(ratios.isfinite(), ratios, 1.0)
        weights = (len(self.tasks) * torch.softmax(ratios / self.temperature, dim=0)).tolist()
        used = {task: weights[self.index_of(task)] for task in losses}
        self.remember(used)
        return {task: used[task] * loss for task, loss in losses.items()}

    def epoch_ended(self, means: Mapping[str, float]) -> None:
        """Take the epoch's mean losses; a task that is left out keeps its last one."""
        following = torch.stack([self.means[1], self.means[1].clone()])
        for task, mean in means.items():
            following[1, self.index_of(task)] = mean
        self.means.copy_(following)
