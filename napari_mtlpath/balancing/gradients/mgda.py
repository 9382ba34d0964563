"""MGDA: the shortest convex combination of the task gradients."""

import torch
from jaxtyping import Float64
from torch import Tensor

from napari_mtlpath.balancing.cone import as_weights, factor, shortest_in_hull
from napari_mtlpath.balancing.contract import GramianBalancer


class MGDA(GramianBalancer):
    r"""Multiple gradient descent (Désidéri, 2012; Sener and Koltun, 2018, arXiv:1810.04650, eq. 3).

    :math:`K \sum_i w_i g_i` with :math:`w = \arg\min_{w \ge 0, 1^T w = 1} \|\sum_i w_i g_i\|^2`, solved exactly. Its
    inner product with every gradient is at least its squared length over K; it is zero where no direction helps all
    tasks. A task with a small gradient dominates.

    Examples
    --------
    >>> MGDA()(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), generator=torch.Generator())
    tensor([1., 1.])
    """

    never_conflicts = True

    def weights(self, gramian: Float64[Tensor, "task task"], *, generator: torch.Generator) -> Float64[Tensor, " task"]:
        """Return K times the weights on the simplex."""
        return len(gramian) * as_weights(shortest_in_hull(factor(gramian)))
