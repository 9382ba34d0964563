"""Windows that overlap become one picture without seams."""

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.pixels.lattice import HALVINGS, Lattice
from napari_mtlpath.inference.pixels.planes import Planes


@cache
def fading(core_px: int, margin_px: int) -> NDArray[np.float32]:
    """Return how much a window's answer counts along one axis, [core_px + 2 margin_px].

    1 within the core, falling to 0 over the ground that is shared with a neighbour (`margin_px` on each side of the
    core's edge) as half a cosine. The weights of all windows over a place add up to 1.

    Examples
    --------
    >>> weight = fading(8, 2)
    >>> bool(np.allclose(weight[-4:] + weight[:4], 1.0)), weight[2 + 2 : -4].min()
    (True, np.float32(1.0))
    """
    ground = 2 * margin_px
    rise = (1 - np.cos(np.pi * (np.arange(ground) + 0.5) / ground)) / 2
    weight = np.ones(core_px + 2 * margin_px)
    weight[:ground], weight[-ground:] = rise, rise[::-1]
    return weight.astype(np.float32)


def blend(windows: Mapping[tuple[int, int], NDArray[np.uint8]], lattice: Lattice) -> NDArray[np.uint8]:
    """Return the answer for a core, made of its own window and of those around it that are known.

    The same windows give the same bytes, in whatever order they came.

    Parameters
    ----------
    windows
        Planes [plane, y, x] by step (row, column) from the core, -1 to 1 each; the core's own, (0, 0), among them.
    lattice
        Core and margin.

    Returns
    -------
    [plane, y, x], a core.
    """
    core, margin = lattice.core_px, lattice.margin_px
    blended = windows[0, 0][:, margin:-margin, margin:-margin].copy()
    for rows in (slice(0, margin), slice(core - margin, core)):
        blended[:, rows] = _mixed(windows, lattice, rows, slice(0, core))
    for columns in (slice(0, margin), slice(core - margin, core)):
        between = slice(margin, core - margin)
        blended[:, between, columns] = _mixed(windows, lattice, between, columns)
    return blended


def _mixed(
    windows: Mapping[tuple[int, int], NDArray[np.uint8]], lattice: Lattice, rows: slice, columns: slice
) -> NDArray[np.uint8]:
    """Return a rectangle of a core as the weighted mean of all windows that reach it."""
    core, margin = lattice.core_px, lattice.margin_px
    weight = fading(core, margin)
    planes = windows[0, 0].shape[0]
    total = np.zeros((planes, rows.stop - rows.start, columns.stop - columns.start), np.float32)
    weights = np.zeros(total.shape[1:], np.float32)
    for step in sorted(windows):
        (y0, y1), (x0, x1) = (_reach(part, along, lattice) for part, along in zip((rows, columns), step, strict=True))
        if y0 >= y1 or x0 >= x1:
            continue
        in_y = slice(y0 - step[0] * core + margin, y1 - step[0] * core + margin)
        in_x = slice(x0 - step[1] * core + margin, x1 - step[1] * core + margin)
        share = weight[in_y, None] * weight[None, in_x]
        place = (slice(y0 - rows.start, y1 - rows.start), slice(x0 - columns.start, x1 - columns.start))
        total[(slice(None), *place)] += windows[step][:, in_y, in_x] * share
        weights[place] += share
    total /= weights
    total += np.float32(0.5)
    return total.astype(np.uint8)


def _reach(part: slice, along: int, lattice: Lattice) -> tuple[int, int]:
    """Return the pixels of `part` of a core that the window `along` cores away reaches."""
    low, high = along * lattice.core_px - lattice.margin_px, (along + 1) * lattice.core_px + lattice.margin_px
    return max(part.start, low), min(part.stop, high)


def with_labels(blended: NDArray[np.uint8], planes: Planes) -> NDArray[np.uint8]:
    """Return a core's planes with one plane of class numbers per segmentation after them.

    A pixel's class is the most probable one; of equal ones the first.
    """
    labels = [most_probable(blended[planes.span(task.name)]) for task in planes.segmentations]
    return np.concatenate([blended, *(plane[None] for plane in labels)]) if labels else blended


def most_probable(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the number of the largest plane, [y, x], of [class, y, x]."""
    labels = np.zeros(classes.shape[1:], np.uint8)
    best = classes[0].copy()
    for number, plane in enumerate(classes[1:], start=1):
        np.copyto(labels, np.uint8(number), where=plane > best)
        np.maximum(best, plane, out=best)
    return labels


def halved(planes_of: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the mean of every 2 x 2 pixels of [plane, y, x]."""
    wide = planes_of.astype(np.uint16)
    rows = wide[:, ::2] + wide[:, 1::2]
    return ((rows[:, :, ::2] + rows[:, :, 1::2] + 2) >> 2).astype(np.uint8)


def levels_of(blended: NDArray[np.uint8], planes: Planes) -> list[NDArray[np.uint8]]:
    """Return a core at full size and halved four times, each with its class numbers.

    A halved pixel's class is the most probable of its mean probabilities.
    """
    levels = [blended]
    for _ in range(HALVINGS):
        levels.append(halved(levels[-1]))
    return [with_labels(level, planes) for level in levels]
