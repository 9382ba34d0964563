"""Aligned-MTL: the principal components of the task gradients get one common length."""

import torch
from jaxtyping import Float64
from torch import Tensor
from torchjd.aggregation import AlignedMTLWeighting

from napari_mtlpath.balancing.contract import GramianBalancer

RANK = 1e-10  # Share of the largest eigenvalue below which one is rounding noise of float32 gradients.


class AlignedMTL(GramianBalancer):
    r"""Independent component alignment (Senushkin et al., 2023, arXiv:2305.19000, algorithm 1).

    With the Gramian :math:`J J^T = V \Lambda V^T`, the weights are
    :math:`\sqrt{\lambda_{min}} V \Lambda^{-1/2} V^T 1`: the gradient matrix is replaced by the nearest one whose
    singular values all equal its smallest. Eigenvalues below the precision of the gradients count as zero, or two
    almost equal gradients would shrink the result to nothing.

    Examples
    --------
    >>> AlignedMTL()(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), generator=torch.Generator())
    tensor([1., 1.])
    """

    def weights(self, gramian: Float64[Tensor, "task task"], *, generator: torch.Generator) -> Float64[Tensor, " task"]:
        """Return the weights for the plain sum of the aligned gradients."""
        values, directions = torch.linalg.eigh(gramian)
        values = torch.where(values > RANK * values.max(), values, 0.0)
        clean = (directions * values) @ directions.T
        return AlignedMTLWeighting(torch.ones(len(gramian), dtype=gramian.dtype))(clean)
