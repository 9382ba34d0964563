"""GradDrop: per parameter, chance picks one sign and drops the gradients of the other."""

import torch
from jaxtyping import Float
from torch import Tensor

from napari_mtlpath.balancing.chance import uniform
from napari_mtlpath.balancing.contract import GradientBalancer


class GradDrop(GradientBalancer):
    r"""Gradient sign dropout (Chen et al., 2020, arXiv:2010.06808, algorithm 1, identity as f, no leak).

    Per coordinate :math:`P = \frac12 (1 + \sum_i g_i / \sum_i |g_i|)` and U uniform in [0, 1): positive gradients are
    kept where P > U, negative ones otherwise, and added. Coordinates on which all tasks agree stay as they are.

    Examples
    --------
    >>> GradDrop()(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), generator=torch.Generator())
    tensor([4., 6.])
    """

    coordinatewise = True
    order_matters = True

    def combine(
        self, gradients: Float[Tensor, "task parameter"], *, generator: torch.Generator
    ) -> Float[Tensor, " parameter"]:
        """Keep one sign per coordinate, and add."""
        positive, negative = gradients.clamp(min=0.0).sum(dim=0), gradients.clamp(max=0.0).sum(dim=0)
        extent = positive - negative
        # P > U, multiplied by the extent: P is the share of the positive part.
        return torch.where(positive > uniform(extent, generator) * extent, positive, negative)
