"""Windows that overlap become one picture without seams."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.pixels.lattice import HALVINGS, Lattice
from napari_mtlpath.inference.pixels.planes import Planes


@cache
def fading(core_px: int, margin_px: int) -> NDArray[np.float32]:
    """Return how much a window's answer counts along one axis, [core_px + 2 margin_px].

    1 within the core, falling to 0 over the ground that is shared with a neighbour (`margin_px` on each side of the
    core's edge, at most half a core) as half a cosine. The weights of all windows over a place add up to 1.

    Examples
    --------
    >>> weight = fading(8, 2)
    >>> bool(np.allclose(weight[-4:] + weight[:4], 1.0)), weight[2 + 2 : -4].min()
    (True, np.float32(1.0))
    """
    ground = min(2 * margin_px, core_px)  # wider, and a third window would count in the middle of a core
    rise = (1 - np.cos(np.pi * (np.arange(ground) + 0.5) / ground)) / 2
    weight = np.ones(core_px + ground)
    weight[:ground], weight[-ground:] = rise, rise[::-1]
    return np.pad(weight, margin_px - ground // 2).astype(np.float32)


Around: TypeAlias = Mapping[tuple[int, int], NDArray[np.uint8]]
"""Planes [plane, y, x] of windows by step (row, column) from a core, -1 to 1 each; the core's own, (0, 0), among
them."""


def blend(cores: Sequence[Around], lattice: Lattice) -> NDArray[np.uint8]:
    """Return the answers for some cores, each made of its own window and of those around it that are known.

    The same windows give the same bytes, in whatever order and company they came.

    Parameters
    ----------
    cores
        What is known around each of them; at least one.
    lattice
        Core and margin.

    Returns
    -------
    [core, plane, y, x].
    """
    margin = lattice.margin_px
    blended = np.stack([windows[0, 0][:, margin:-margin, margin:-margin] for windows in cores])
    for strip in _strips(lattice.core_px, margin) if any(len(windows) > 1 for windows in cores) else ():
        total = np.zeros((*blended.shape[:2], *strip.shape), np.float32)
        weights = np.zeros((len(cores), 1, *strip.shape), np.float32)
        for piece in strip.pieces:
            there = [number for number, windows in enumerate(cores) if piece.step in windows]
            if there:
                seen = np.stack([cores[number][piece.step][(slice(None), *piece.source)] for number in there])
                which = slice(None) if len(there) == len(cores) else there
                total[(which, slice(None), *piece.place)] += seen * piece.share
                weights[(which, slice(None), *piece.place)] += piece.share
        total /= weights
        total += np.float32(0.5)
        blended[(slice(None), slice(None), *strip.place)] = total
    return blended


Place = tuple[slice, slice]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Piece:
    """What one window adds to a strip: where it lies in the window and in the strip, and how much it counts there."""

    step: tuple[int, int]
    source: Place
    place: Place
    share: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Strip:
    """A part of the rim of a core, where windows overlap."""

    place: Place
    shape: tuple[int, int]
    pieces: tuple[_Piece, ...]


@cache
def _strips(core: int, margin: int) -> tuple[_Strip, ...]:
    """Return the rim of a core: the strips above and below, then those at the sides between them."""
    ends = (slice(0, margin), slice(core - margin, core))
    above = [(rows, slice(0, core)) for rows in ends]
    aside = [(slice(margin, core - margin), columns) for columns in ends]
    return tuple(_strip(place, core, margin) for place in (*above, *aside))


def _strip(place: Place, core: int, margin: int) -> _Strip:
    weight = fading(core, margin)
    pieces = []
    for step in ((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)):
        reached = [
            (max(part.start, along * core - margin), min(part.stop, (along + 1) * core + margin))
            for part, along in zip(place, step, strict=True)
        ]
        if any(start >= stop for start, stop in reached):
            continue
        down, right = (
            slice(start - along * core + margin, stop - along * core + margin)
            for (start, stop), along in zip(reached, step, strict=True)
        )
        rows, columns = (
            slice(start - part.start, stop - part.start) for (start, stop), part in zip(reached, place, strict=True)
        )
        share = weight[down, None] * weight[None, right]
        pieces.append(_Piece(step=step, source=(down, right), place=(rows, columns), share=share))
    rows, columns = place
    return _Strip(place=place, shape=(rows.stop - rows.start, columns.stop - columns.start), pieces=tuple(pieces))


def with_labels(blended: NDArray[np.uint8], planes: Planes) -> NDArray[np.uint8]:
    """Return cores' planes [core, plane, y, x] with one plane of class numbers per segmentation after them.

    A pixel's class is the most probable one; of equal ones the first.
    """
    labels = [most_probable(blended[:, planes.span(task.name)]) for task in planes.segmentations]
    return np.concatenate([blended, *(plane[:, None] for plane in labels)], axis=1) if labels else blended


def most_probable(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the number of the largest plane, [core, y, x], of [core, class, y, x]."""
    best = classes[:, 0].copy()
    labels = np.zeros_like(best)
    for number in range(1, classes.shape[1]):
        plane = classes[:, number]
        np.copyto(labels, np.uint8(number), where=plane > best)
        np.maximum(best, plane, out=best)
    return labels


def halved(planes_of: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the mean of every 2 x 2 pixels of [core, plane, y, x]."""
    # Two neighbours of a row are one number of 16 bits: its halves are added without a step through memory.
    pairs = np.ascontiguousarray(planes_of).view(np.uint16)
    rows = (pairs & 0xFF) + (pairs >> 8)
    total = rows[:, :, ::2] + rows[:, :, 1::2]
    total += 2
    total >>= 2
    return total.astype(np.uint8)


def levels_of(blended: NDArray[np.uint8], planes: Planes) -> list[NDArray[np.uint8]]:
    """Return cores [core, plane, y, x] at full size and halved four times, each with its class numbers.

    A halved pixel's class is the most probable of its mean probabilities.
    """
    levels = [blended]
    for _ in range(HALVINGS):
        levels.append(halved(levels[-1]))
    return [with_labels(level, planes) for level in levels]
