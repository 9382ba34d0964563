"""Nash-MTL: the tasks bargain over the direction."""

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from napari_mtlpath.balancing.cone import Vectors, as_weights
from napari_mtlpath.balancing.contract import GramianBalancer

RIDGE = 1e-9  # Added to cosines: bounds the weights where no direction helps all tasks.
DONE = 1e-20  # Squared Newton decrement.
MOST_STEPS = 200


class NashMTL(GramianBalancer):
    r"""Nash bargaining solution (Navon et al., 2022, arXiv:2202.01017, claim 3.2).

    The weights solve :math:`J J^T \alpha = 1 / \alpha` with :math:`\alpha > 0`: the direction that maximises
    :math:`\sum_i \log \langle g_i, d \rangle` in a ball. Equivalently :math:`\alpha` minimises the strictly convex
    :math:`\frac12 \alpha^T J J^T \alpha - \sum_i \log \alpha_i`, which damped Newton steps solve to machine precision.
    The published length :math:`\|d\| = \sqrt K` has nothing to do with that of the gradients; here
    :math:`\sum_i \alpha_i = K`. The direction does not change when a task's loss is multiplied by a factor.

    Examples
    --------
    >>> NashMTL()(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), generator=torch.Generator())
    tensor([1.5000, 1.5000])
    """

    never_conflicts = True

    def weights(self, gramian: Float64[Tensor, "task task"], *, generator: torch.Generator) -> Float64[Tensor, " task"]:
        """Return the weights, of sum K."""
        lengths = np.sqrt(gramian.diagonal().numpy())
        cosines = gramian.numpy() / np.outer(lengths, lengths)
        bargained = _bargain(cosines + RIDGE * np.eye(len(cosines))) / lengths
        return as_weights(len(bargained) * bargained / bargained.sum())


def _bargain(gramian: Vectors) -> Vectors:
    """Return the positive solution of ``gramian @ x = 1 / x``."""
    current = np.ones(len(gramian))
    for _ in range(MOST_STEPS):
        slope = gramian @ current - 1.0 / current
        step = np.linalg.solve(gramian + np.diag(current**-2.0), slope)
        squared = float(slope @ step)
        if squared < DONE:
            break
        # The objective is self-concordant: this length keeps all weights positive and always descends.
        decrement = squared**0.5
        current = current - step / (1.0 + decrement if decrement > 0.25 else 1.0)
    return current
