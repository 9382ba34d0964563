"""IMTL-G: one direction onto which all task gradients project equally."""

import torch
from jaxtyping import Float64
from torch import Tensor
from torchjd.aggregation import IMTLGWeighting

from napari_mtlpath.balancing.contract import GramianBalancer


class IMTLG(GramianBalancer):
    r"""Impartial multi-task learning, gradients (Liu et al., 2021, ICLR, "Towards Impartial Multi-task Learning").

    :math:`\alpha \propto (J J^T)^{+} (\|g_1\|, \dots, \|g_K\|)^T`, so that :math:`\langle d, g_i / \|g_i\| \rangle` is
    the same for all tasks. The weights are scaled to :math:`\sum_i |\alpha_i| = K`: as published where all are
    positive; where they are not, dividing by their sum could turn the direction round or make it endless. A task with a
    small gradient dominates.

    Examples
    --------
    >>> IMTLG()(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), generator=torch.Generator())
    tensor([1.5000, 1.5000])
    """

    def weights(self, gramian: Float64[Tensor, "task task"], *, generator: torch.Generator) -> Float64[Tensor, " task"]:
        """Return the weights, of absolute sum K; zero where no direction projects equally."""
        weights = IMTLGWeighting()(gramian)
        total = weights.abs().sum()
        if total == 0.0:
            return weights
        return torch.sign((gramian @ weights).sum()) * len(gramian) * weights / total
