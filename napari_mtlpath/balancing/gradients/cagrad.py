"""CAGrad: the direction near the mean gradient that helps the worst-off task most."""

import numpy as np
import torch
from jaxtyping import Float64
from scipy.optimize import brentq
from torch import Tensor

from napari_mtlpath.balancing.cone import Vectors, as_weights, factor, pushed_into_dual_cone, shortest_in_hull
from napari_mtlpath.balancing.contract import GramianBalancer

SHORT = 1e-7  # Relative to the mean gradient: a combination this short is no direction.


class CAGrad(GramianBalancer):
    r"""Conflict-averse gradient (Liu et al., 2021, arXiv:2110.14048, eq. 3 and 4).

    :math:`\max_d \min_i \langle g_i, d \rangle` subject to :math:`\|d - g_0\| \le c \|g_0\|`, where :math:`g_0` is the
    mean. By duality :math:`d = g_0 + c \|g_0\| g_w / \|g_w\|` with w on the simplex minimising :math:`\langle g_w, g_0
    \rangle + c \|g_0\| \|g_w\|`. The result is :math:`K d / (1 + c^2)`, as in the authors' trainer.

    For a given length :math:`\tau` of :math:`g_w`, w is the shortest vector in the hull of
    :math:`g_i + \tau g_0 / (c \|g_0\|)`; the length that agrees with itself is found by Brent's method. Where
    :math:`g_w = 0` (no direction helps all tasks) the formula has no value: there the nearest d to the mean that
    opposes no task is taken, which attains the same optimum.

    Parameters
    ----------
    c
        How far from the mean the direction may lie, as a share of the mean's length, in [0, 1). 0 gives the plain sum.

    Examples
    --------
    >>> CAGrad(c=0.0)(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]), generator=torch.Generator())
    tensor([0., 1.])
    """

    def __init__(self, c: float = 0.4) -> None:
        super().__init__()
        if not 0.0 <= c < 1.0:
            raise ValueError(f"Option 'c' of cagrad must lie in [0, 1); found {c!r}.")
        self.c = c

    def weights(self, gramian: Float64[Tensor, "task task"], *, generator: torch.Generator) -> Float64[Tensor, " task"]:
        """Return K / (1 + c^2) times the weights of d."""
        count = len(gramian)
        vectors = factor(gramian)
        even = np.full(count, 1.0 / count)
        radius = self.c * float(np.linalg.norm(vectors @ even))
        if radius < SHORT:
            return as_weights(count * even)
        leaning = _worst_off(vectors, radius)
        length = float(np.linalg.norm(vectors @ leaning))
        if length < SHORT * radius / self.c:
            direction = pushed_into_dual_cone(vectors, even)
        else:
            direction = even + radius / length * leaning
        return as_weights(count / (1.0 + self.c**2) * direction)


def _worst_off(vectors: Vectors, radius: float) -> Vectors:
    """Return w on the simplex minimising <g_w, g_0> + radius |g_w|."""
    mean = vectors.mean(axis=1, keepdims=True)

    def weights(length: float) -> Vectors:
        return shortest_in_hull(vectors + length / radius * mean)

    def excess(length: float) -> float:
        return float(np.linalg.norm(vectors @ weights(length))) / length - 1.0

    longest = float(np.linalg.norm(vectors, axis=0).max())
    low, high = 0.1 * SHORT * float(np.linalg.norm(mean)), 1.1 * longest
    if excess(low) <= 0.0:
        return weights(low)
    return weights(float(brentq(excess, low, high, xtol=1e-14, rtol=1e-12)))
