"""What of an array-like level an index picks: the rectangle that holds it, and the rest within."""

from collections.abc import Sequence
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray

Index: TypeAlias = SupportsIndex | slice | Sequence[int] | NDArray[Any]


def three_indices(key: Index | tuple[Index, ...]) -> tuple[Index, Index, Index]:
    """Return the indices of rows, columns and channels."""
    indices = key if isinstance(key, tuple) else (key,)
    if Ellipsis in [index for index in indices if not isinstance(index, np.ndarray)]:
        at = next(place for place, index in enumerate(indices) if index is Ellipsis)
        indices = indices[:at] + (slice(None),) * (3 - (len(indices) - 1)) + indices[at + 1 :]
    if len(indices) > 3:
        raise IndexError(f"A level has 3 axes (y, x, colour); found {len(indices)} indices.")
    rows, columns, channels = indices + (slice(None),) * (3 - len(indices))
    return rows, columns, channels


def bounded(index: Index, size: int) -> tuple[tuple[int, int], Index]:
    """Return the smallest range that holds what `index` picks, and the index to apply within that range."""
    if isinstance(index, slice):
        picked = range(*index.indices(size))
        if not picked:
            return (0, 0), slice(0, 0)
        low, high = min(picked[0], picked[-1]), max(picked[0], picked[-1])
        return (low, high + 1), slice(None, None, picked.step)
    numbers = np.asarray(index)
    if numbers.dtype == bool:
        numbers = np.flatnonzero(numbers)
    if numbers.size and not (-size <= numbers.min() and numbers.max() < size):
        raise IndexError(f"Indices must lie in 0 to {size - 1}; found {numbers.min()} to {numbers.max()}.")
    numbers = np.where(numbers < 0, numbers + size, numbers)
    if not numbers.size:
        return (0, 0), numbers.astype(np.intp)
    low = int(numbers.min())
    shifted = numbers - low
    return (low, int(numbers.max()) + 1), int(shifted) if shifted.ndim == 0 else shifted
