"""Specks of a mask: small groups of touching pixels. In NumPy, because importing SciPy takes longer than the work."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def without_specks(mask: NDArray[np.bool_], *, smallest: int) -> NDArray[np.bool_]:
    """Return a mask without its groups of fewer than `smallest` pixels.

    Pixels touch by an edge, not by a corner.

    Parameters
    ----------
    mask
        Any mask, [y, x].
    smallest
        Pixels of the smallest group that stays.

    Examples
    --------
    >>> mask = np.array([[1, 1, 0, 0], [0, 1, 0, 1]], dtype=bool)
    >>> without_specks(mask, smallest=2).astype(int).tolist()
    [[1, 1, 0, 0], [0, 1, 0, 0]]
    """
    runs = _runs_of(mask)
    group = _groups(runs)
    sizes = np.bincount(group, weights=runs.end - runs.start, minlength=len(group))
    kept = sizes[group] >= smallest
    steps = np.zeros((mask.shape[0], mask.shape[1] + 1), dtype=np.int8)
    steps[runs.row[kept], runs.start[kept]] = 1
    steps[runs.row[kept], runs.end[kept]] = -1
    return steps.cumsum(axis=1, dtype=np.int8)[:, :-1].astype(np.bool_)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Runs:
    """Stretches of set pixels, in reading order: row, first pixel, pixel after the last; and the length of a row."""

    row: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    width: int


def _runs_of(mask: NDArray[np.bool_]) -> _Runs:
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    row, start = np.nonzero(steps == 1)
    return _Runs(row=row, start=start, end=np.nonzero(steps == -1)[1], width=mask.shape[1])


def _groups(runs: _Runs) -> NDArray[np.int64]:
    """Return for each run the lowest run of its group: labels sink along touching runs until nothing changes."""
    above, below = _touching(runs)
    label = np.arange(len(runs.row))
    while True:
        lower = np.minimum(label[above], label[below])
        sunk = label.copy()
        np.minimum.at(sunk, label[above], lower)
        np.minimum.at(sunk, label[below], lower)
        while not np.array_equal(sunk, further := sunk[sunk]):
            sunk = further
        if np.array_equal(sunk, label):
            return label
        label = sunk


def _touching(runs: _Runs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of runs that touch, the upper one and the one in the row below it."""
    step = runs.width + 1  # more than any end: places in different rows never meet
    row_above = (runs.row - 1) * step
    first = np.searchsorted(runs.row * step + runs.end, row_above + runs.start, side="right")
    behind = np.searchsorted(runs.row * step + runs.start, row_above + runs.end, side="left")
    count = np.maximum(behind - first, 0)
    below = np.repeat(np.arange(len(count)), count)
    offset = np.arange(len(below)) - np.repeat(count.cumsum() - count, count)
    return np.repeat(first, count) + offset, below
