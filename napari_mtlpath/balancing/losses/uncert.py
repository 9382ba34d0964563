"""Uncertainty weighting: every task learns how noisy it is."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from napari_mtlpath.balancing.contract import LossBalancer

START = -0.7  # Weight 1.007: close to the plain sum.


class UncertaintyWeighting(LossBalancer):
    r"""Homoscedastic uncertainty (Kendall et al., 2018, arXiv:1705.07115, section 3.2, with :math:`s = \log \sigma^2`).

    Each loss becomes :math:`\frac{L_i}{2 e^{s_i}} + \frac{s_i}{2}`, where the learned :math:`s_i` settles at
    :math:`\log L_i`. The :math:`s_i` must be given to an optimizer: see :meth:`own_parameters`.

    Parameters
    ----------
    start
        First value of every s.

    Examples
    --------
    >>> method = UncertaintyWeighting(["a"], start=0.0)
    >>> float(method({"a": torch.tensor(3.0)})["a"])
    1.5
    """

    def __init__(self, tasks: Sequence[str], start: float = START) -> None:
        super().__init__(tasks)
        # One parameter per task, so that an absent task's has no gradient, rather than one of zero that momentum moves.
        self.log_variances = nn.ParameterList(nn.Parameter(torch.tensor(float(start))) for _ in self.tasks)

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Divide each loss by twice its variance, and add half the logarithm."""
        weighted, used = {}, {}
        for task, loss in losses.items():
            log_variance = self.log_variances[self.index_of(task)]
            weight = 0.5 * torch.exp(-log_variance)
            weighted[task] = weight * loss + 0.5 * log_variance
            used[task] = float(weight.detach())
        self.remember(used)
        return weighted
