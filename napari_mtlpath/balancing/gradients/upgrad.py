"""UPGrad: each task's gradient is turned until it opposes nobody, then all are added."""

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from napari_mtlpath.balancing.cone import as_weights, factor, pushed_into_dual_cone
from napari_mtlpath.balancing.contract import GramianBalancer


class UPGrad(GramianBalancer):
    r"""Sum of the projections onto the dual cone (Quinton and Rey, 2024, arXiv:2406.16232, section 3).

    :math:`\sum_i \pi_J(g_i)` with :math:`\pi_J(g) = \arg\min_{d : J d \ge 0} \|d - g\|`. For any number of tasks the
    result opposes none of them, and without conflict it is the plain sum.

    Examples
    --------
    >>> UPGrad()(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]), generator=torch.Generator())
    tensor([0.5000, 1.5000])
    """

    never_conflicts = True

    def weights(self, gramian: Float64[Tensor, "task task"], *, generator: torch.Generator) -> Float64[Tensor, " task"]:
        """Return how often each gradient is in the sum of the projections."""
        vectors = factor(gramian)
        return as_weights(np.sum([pushed_into_dual_cone(vectors, unit) for unit in np.eye(len(vectors))], axis=0))
