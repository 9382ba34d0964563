"""Bringing pixels to another size by the mean over the area that each new pixel covers."""

import functools
import itertools
import math
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CHANNELS = 3

WINDOW = 8
"""Pixels that one product of matrices makes: more would multiply by more zeros, fewer would call more often."""

SERIAL_PRODUCTS = 2**18
"""Multiplications up to which OpenBLAS computes a matrix product in the calling thread. Beyond, it would wake threads
of its own, which spin beside the reader threads and the encoder."""

MOST_KEPT = 2**20
"""Numbers that a thread has memory for from one call to the next. The system hands out new memory page by page, filled
with zeros: for a tile that takes longer than the mean itself."""

_HERE = threading.local()


def resize(
    pixels: NDArray[np.uint8], *, box: tuple[float, float, float, float], height: int, width: int
) -> NDArray[np.uint8]:
    """Resample a part of `pixels`, whose borders may lie inside pixels, to `height` x `width`.

    Shrinking takes the exact area mean (each source pixel weighs by the part of it that is covered); growing is
    linear between pixel centres.

    Parameters
    ----------
    pixels
        [y, x, 3] of uint8.
    box
        Part to take, (y0, x0, y1, x1) in pixels, possibly fractional; clipped to the array.
    height, width
        Size of the result.

    Examples
    --------
    >>> checks = np.kron(np.array([[0, 100], [100, 200]], np.uint8), np.ones((4, 4), np.uint8))
    >>> resize(np.repeat(checks[..., None], 3, 2), box=(0, 0, 8, 8), height=1, width=1).ravel().tolist()
    [100, 100, 100]
    """
    y0, x0 = max(0.0, box[0]), max(0.0, box[1])
    y1, x1 = min(float(pixels.shape[0]), box[2]), min(float(pixels.shape[1]), box[3])
    if all(float(value).is_integer() for value in (y0, x0, y1, x1)):
        pixels = pixels[int(y0) : int(y1), int(x0) : int(x1)]
        y0, x0, y1, x1 = 0.0, 0.0, float(pixels.shape[0]), float(pixels.shape[1])
        factor = pixels.shape[0] // height
        if pixels.shape[:2] == (height * factor, width * factor):
            return np.ascontiguousarray(shrink(pixels, factor))
    if y1 - y0 < height or x1 - x0 < width:
        image = Image.fromarray(np.ascontiguousarray(pixels))
        return np.array(image.resize((width, height), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1)))
    return _area_mean(pixels, (y0, y1), (x0, x1), height, width)


def shrink(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return the mean over squares of `factor` pixels; squares cut by the border take what they have.

    Examples
    --------
    >>> shrink(np.full((5, 7, 3), 9, np.uint8), 2).shape
    (3, 4, 3)
    """
    if factor == 1:
        return pixels
    return np.array(Image.fromarray(np.ascontiguousarray(pixels)).reduce(factor))


def _area_mean(
    pixels: NDArray[np.uint8], rows: tuple[float, float], columns: tuple[float, float], height: int, width: int
) -> NDArray[np.uint8]:
    # Pillow's BOX filter counts a pixel wholly or not at all, so it is no area mean at fractional borders.
    high, wide = pixels.shape[:2]
    if (*rows, *columns) == (0, high, 0, wide):
        repeated = _repeated_mean(pixels, height, width)
        if repeated is not None:
            return repeated
    source, down, mean = _memory(pixels, height, width)
    for made, taken, weights in _windows(*rows, height, high).over_rows:
        step = max(1, SERIAL_PRODUCTS // weights.size)
        for left in range(0, source.shape[1], step):
            np.matmul(weights, source[taken, left : left + step], out=down[made, left : left + step])
    for made, taken, weights in _windows(*columns, width, wide).over_columns:
        step = max(1, SERIAL_PRODUCTS // weights.size)
        for top in range(0, height, step):
            np.matmul(down[top : top + step, taken], weights, out=mean[top : top + step, made])
    return _rounded(mean)


def _repeated_mean(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8] | None:
    """Return the area mean where one window repeats over whole pixels, as where every 8 become 7; None elsewhere.

    It takes two calls instead of two for each window. Tiles that were snapped to the file's own are often such.
    """
    high, wide = pixels.shape[:2]
    downwards, across = math.gcd(high, height), math.gcd(wide, width)
    rows = _windows(0.0, high / downwards, height // downwards, high // downwards).over_rows
    columns = _windows(0.0, wide / across, width // across, wide // across).over_columns
    (_, _, over_rows), (_, _, over_columns) = rows[0], columns[0]
    most = max(over_rows.size * wide * CHANNELS, over_columns.size * across)
    if len(rows) > 1 or len(columns) > 1 or most > SERIAL_PRODUCTS:
        return None
    source, down, mean = _memory(pixels, height, width)
    stacked = downwards, -1, wide * CHANNELS
    np.matmul(over_rows, source.reshape(stacked), out=down.reshape(stacked))
    beside = height, across, -1
    np.matmul(down.reshape(beside), over_columns, out=mean.reshape(beside))
    return _rounded(mean)


def _memory(pixels: NDArray[np.uint8], height: int, width: int) -> tuple[NDArray[np.float32], ...]:
    """Return the pixels, and memory for those of the new height and for those of the new size, as [y, x * 3].

    This thread's next call writes over them.
    """
    shapes = (pixels.shape[0], pixels.shape[1]), (height, pixels.shape[1]), (height, width)
    ends = list(itertools.accumulate(high * wide * CHANNELS for high, wide in shapes))
    memory: NDArray[np.float32] | None = getattr(_HERE, "memory", None)
    if memory is None or len(memory) < ends[-1]:
        memory = np.empty(ends[-1], np.float32)
        if len(memory) <= MOST_KEPT:
            _HERE.memory = memory
    source, down, mean = (
        memory[end - high * wide * CHANNELS : end].reshape(high, wide * CHANNELS)
        for end, (high, wide) in zip(ends, shapes, strict=True)
    )
    np.copyto(source.reshape(pixels.shape), pixels)
    return source, down, mean


def _rounded(mean: NDArray[np.float32]) -> NDArray[np.uint8]:
    mean += 0.5
    return mean.astype(np.uint8).reshape(len(mean), -1, CHANNELS)


_Window = tuple[slice, slice, NDArray[np.float32]]
"""Which new pixels are made of which old ones, with which weights."""


@dataclass(frozen=True, kw_only=True)
class _Windows:
    """An area mean along one axis as small matrix products, each making a few neighbouring pixels.

    Attributes
    ----------
    over_rows
        Weights [new, old], for rows of pixels.
    over_columns
        Weights [old * 3, new * 3] and slices in values instead of pixels: the channels lie beside each other.
    """

    over_rows: tuple[_Window, ...]
    over_columns: tuple[_Window, ...]


@functools.lru_cache(maxsize=32)
def _windows(low: float, high: float, count: int, size: int) -> _Windows:
    """Return the area mean that brings the interval from `low` to `high` of `size` pixels to `count` pixels."""
    edges = np.linspace(low, high, count + 1)
    begin, end = edges[:-1, None], edges[1:, None]
    first = np.floor(begin).astype(np.intp)
    index = first + np.arange(int((np.ceil(end) - first).max()))
    covered = np.clip(np.minimum(index + 1, end) - np.maximum(index, begin), 0, None) / (end - begin)
    over_rows, over_columns = [], []
    for start in range(0, count, WINDOW):
        stop = min(start + WINDOW, count)
        taken = slice(int(first[start, 0]), min(size, int(index[stop - 1, -1]) + 1))
        # Index may lead past the last pixel, always with weight 0.
        weights = np.zeros((stop - start, int(index[stop - 1, -1]) + 1 - taken.start), np.float32)
        weights[np.arange(stop - start)[:, None], index[start:stop] - taken.start] = covered[start:stop]
        weights = weights[:, : taken.stop - taken.start]
        beside = np.zeros((weights.shape[1], CHANNELS, stop - start, CHANNELS), np.float32)
        for channel in range(CHANNELS):
            beside[:, channel, :, channel] = weights.T
        flat = beside.reshape(weights.shape[1] * CHANNELS, -1)
        over_rows.append((slice(start, stop), taken, weights))
        over_columns.append((_values(start, stop), _values(taken.start, taken.stop), flat))
    return _Windows(over_rows=tuple(over_rows), over_columns=tuple(over_columns))


def _values(start: int, stop: int) -> slice:
    return slice(start * CHANNELS, stop * CHANNELS)
