"""AGS: gradient surgery whose result keeps the length of the plain sum."""

import torch
from jaxtyping import Float64
from torch import Tensor

from napari_mtlpath.balancing.contract import GramianBalancer
from napari_mtlpath.balancing.surgery import projected


class AGS(GramianBalancer):
    r"""Adaptive gradient surgery (SLAM-AGS, 2025, arXiv:2511.14639), here for any number of tasks.

    The direction of PCGrad, rescaled to :math:`\|\sum_i g_i\|`: under conflict PCGrad lengthens the step (for two
    gradients of equal length by :math:`1 + |\cos|`), and this undoes it. Exactly opposite gradients give a zero step.

    Examples
    --------
    >>> chance = torch.Generator().manual_seed(0)
    >>> AGS()(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]), generator=chance).norm()
    tensor(1.)
    """

    order_matters = True

    def weights(self, gramian: Float64[Tensor, "task task"], *, generator: torch.Generator) -> Float64[Tensor, " task"]:
        """Return PCGrad's weights times the ratio of the two lengths; zeros where nothing is left of the sum."""
        weights = projected(gramian, generator)
        plain, turned = gramian.sum().clamp(min=0.0), weights @ gramian @ weights
        return weights * (plain / turned).sqrt() if turned > 0.0 else torch.zeros_like(weights)
