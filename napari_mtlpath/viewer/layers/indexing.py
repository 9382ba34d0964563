"""What of an array-like level an index picks: the rectangle that holds it, and the rest within."""

from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.viewer.layers.composition import Box

Index: TypeAlias = SupportsIndex | slice | Sequence[int] | NDArray[Any]


def picked(
    key: Index | tuple[Index, ...], shape: tuple[int, int, int], look: Callable[[Box], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Return what an index picks of a level [y, x, colour], looking only at the rectangle that holds it.

    Parameters
    ----------
    key
        What stands in the brackets.
    shape
        Of the level.
    look
        Returns the pixels of a rectangle.
    """
    rows, columns, channels = _three_indices(key)
    (top, bottom), rows = _bounded(rows, shape[0])
    (left, right), columns = _bounded(columns, shape[1])
    array = look(Box(top, bottom, left, right))
    if not isinstance(rows, slice) and not isinstance(columns, slice):
        return array[rows, columns, channels]
    lines = array[rows]
    return lines[(slice(None),) * (lines.ndim - 2) + (columns,)][..., channels]


def _three_indices(key: Index | tuple[Index, ...]) -> tuple[Index, Index, Index]:
    """Return the indices of rows, columns and channels."""
    indices = key if isinstance(key, tuple) else (key,)
    if Ellipsis in [index for index in indices if not isinstance(index, np.ndarray)]:
        at = next(place for place, index in enumerate(indices) if index is Ellipsis)
        indices = indices[:at] + (slice(None),) * (3 - (len(indices) - 1)) + indices[at + 1 :]
    if len(indices) > 3:
        raise IndexError(f"A level has 3 axes (y, x, colour); found {len(indices)} indices.")
    rows, columns, channels = indices + (slice(None),) * (3 - len(indices))
    return rows, columns, channels


def _bounded(index: Index, size: int) -> tuple[tuple[int, int], Index]:
    """Return the smallest range that holds what `index` picks, and the index to apply within that range."""
    if isinstance(index, slice):
        taken = range(*index.indices(size))
        if not taken:
            return (0, 0), slice(0, 0)
        low, high = min(taken[0], taken[-1]), max(taken[0], taken[-1])
        return (low, high + 1), slice(None, None, taken.step)
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
