"""The border of a set of tiles as few straight segments."""

import numpy as np
from numpy.typing import NDArray

OUTLINE_WIDTH = 0.12
"""Width of the outline in tiles: visible when a tile is ten pixels on the screen, and never hiding one."""

SEGMENTS_AT_MOST = 20_000
"""More segments than this are not drawn: the outline of so many scattered tiles is a grey veil."""


def border_segments(selected: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the border between chosen and other tiles, straight runs merged.

    Parameters
    ----------
    selected
        Chosen tiles [row, column].

    Returns
    -------
    Segments [segment, 2, 2] as napari's Vectors take them: start (y, x) and direction (y, x), in heatmap pixels whose
    centres lie at whole numbers. Each is longer by half the width at both ends, so that corners are closed.

    Examples
    --------
    >>> border_segments(np.array([[True, True]])).shape  # a box of two tiles has four sides
    (4, 2, 2)
    """
    padded = np.pad(selected.astype(np.int8), 1)
    horizontal = _runs(np.diff(padded, axis=0)[:, 1:-1])
    vertical = _runs(np.diff(padded, axis=1).T[:, 1:-1])
    lines, starts, lengths = horizontal
    flat = _vectors(y=lines - 0.5, x=starts - 0.5 - OUTLINE_WIDTH / 2, dx=lengths + OUTLINE_WIDTH)
    lines, starts, lengths = vertical
    upright = _vectors(y=starts - 0.5 - OUTLINE_WIDTH / 2, x=lines - 0.5, dy=lengths + OUTLINE_WIDTH)
    return np.concatenate([flat, upright])


def _runs(edges: NDArray[np.int8]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return line, start and length of every run of equal non-zero values along the second axis."""
    lines, positions = np.nonzero(edges)
    if not lines.size:
        return lines, positions, positions
    signs = edges[lines, positions]
    breaks = (np.diff(lines) != 0) | (np.diff(positions) != 1) | (np.diff(signs) != 0)
    first = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    last = np.concatenate([first[1:] - 1, [lines.size - 1]])
    return lines[first], positions[first], positions[last] - positions[first] + 1


def _vectors(
    *,
    y: NDArray[np.floating],
    x: NDArray[np.floating],
    dy: NDArray[np.floating] | float = 0.0,
    dx: NDArray[np.floating] | float = 0.0,
) -> NDArray[np.float32]:
    segments = np.zeros((len(y), 2, 2), np.float32)
    segments[:, 0, 0], segments[:, 0, 1] = y, x
    segments[:, 1, 0], segments[:, 1, 1] = dy, dx
    return segments
