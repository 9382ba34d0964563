"""Small non-negative least-squares problems on inner products, solved exactly by an active-set method."""

import numpy as np
import torch
from jaxtyping import Float64
from scipy.optimize import nnls
from torch import Tensor

Vectors = np.ndarray
"""Columns with the inner products of the task gradients, [task, task]: the gradients up to a rotation."""


def factor(gramian: Float64[Tensor, "task task"]) -> Vectors:
    """Return short vectors, one per column, with the given inner products (the symmetric square root)."""
    values, directions = np.linalg.eigh(gramian.numpy())
    return (directions * np.sqrt(values.clip(min=0.0))) @ directions.T


def shortest_in_hull(vectors: Vectors) -> Vectors:
    r"""Return the weights, non-negative with sum 1, of the shortest vector in the convex hull of the columns.

    With :math:`u \ge 0` minimising :math:`\|A u\|^2 + (1^T u - 1)^2`, the direction of u is that of the wanted weights:
    for u of sum s the best s leaves an objective that grows with the length of :math:`A u / s` alone.

    Examples
    --------
    >>> shortest_in_hull(np.array([[1.0, -3.0], [0.0, 0.0]])).round(6).tolist()
    [0.75, 0.25]
    """
    count = vectors.shape[1]
    solution, _ = nnls(np.vstack([vectors, np.ones(count)]), np.append(np.zeros(len(vectors)), 1.0))
    return solution / solution.sum()


def pushed_into_dual_cone(vectors: Vectors, weights: Vectors) -> Vectors:
    r"""Return the weights of the nearest vector to ``vectors @ weights`` that opposes no column.

    The projection of :math:`A u` onto :math:`\{d : A^T d \ge 0\}` is :math:`A (u + v)` with :math:`v \ge 0` minimising
    :math:`\|A (u + v)\|`.
    """
    added, _ = nnls(vectors, -(vectors @ weights))
    return weights + added


def as_weights(values: Vectors) -> Float64[Tensor, " task"]:
    """Return weights as the tensor that the contract asks for."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))
