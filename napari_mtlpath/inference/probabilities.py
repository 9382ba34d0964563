"""From logits to shares of one, in numpy and without overflow."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", bound=np.floating)


def sigmoid(logits: NDArray[Real]) -> NDArray[Real]:
    """Return ``1 / (1 + exp(-x))`` in the logits' own precision.

    Examples
    --------
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    small = np.exp(-np.abs(logits))
    found: NDArray[Real] = np.where(logits >= 0, 1, small) / (1 + small)
    return found


def softmax(logits: NDArray[Real]) -> NDArray[Real]:
    """Return shares along the last axis, each row summing to 1.

    Examples
    --------
    >>> softmax(np.array([1000.0, 1000.0])).tolist()
    [0.5, 0.5]
    """
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    found: NDArray[Real] = powers / powers.sum(axis=-1, keepdims=True)
    return found
