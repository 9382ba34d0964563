"""PCGrad: each task's gradient loses the part that opposes another task."""

import torch
from jaxtyping import Float64
from torch import Tensor

from napari_mtlpath.balancing.contract import GramianBalancer
from napari_mtlpath.balancing.surgery import projected


class PCGrad(GramianBalancer):
    r"""Project conflicting gradients onto each other's normal plane (Yu et al., 2020, arXiv:2001.06782, algorithm 1).

    For each task i and the others j in random order: where :math:`g_i^{PC} \cdot g_j < 0`,
    :math:`g_i^{PC} \leftarrow g_i^{PC} - \frac{g_i^{PC} \cdot g_j}{\|g_j\|^2} g_j`; the result is
    :math:`\sum_i g_i^{PC}`. With two tasks it opposes neither; with three or more a projection may create a new
    conflict, and the sum can oppose a task strongly.

    Examples
    --------
    >>> chance = torch.Generator().manual_seed(0)
    >>> PCGrad()(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]), generator=chance)
    tensor([0.5000, 1.5000])
    """

    order_matters = True

    def weights(self, gramian: Float64[Tensor, "task task"], *, generator: torch.Generator) -> Float64[Tensor, " task"]:
        """Return how often each gradient is in the sum of the projected ones."""
        return projected(gramian, generator)
