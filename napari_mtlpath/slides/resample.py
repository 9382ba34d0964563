"""Bringing pixels to another size by the mean over the area that each new pixel covers."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import sparse


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
    down = _weights(rows, height, high) @ pixels.reshape(high, wide * 3).astype(np.float32)
    turned = np.ascontiguousarray(down.reshape(height, wide, 3).transpose(1, 0, 2)).reshape(wide, height * 3)
    across = _weights(columns, width, wide) @ turned
    across += 0.5
    return np.ascontiguousarray(across.astype(np.uint8).reshape(width, height, 3).transpose(1, 0, 2))


def _weights(borders: tuple[float, float], count: int, size: int) -> sparse.csr_array:
    """Return the matrix [count, size] whose row i holds the part of each pixel that lies in interval i, sum 1."""
    edges = np.linspace(borders[0], borders[1], count + 1)
    low, high = edges[:-1, None], edges[1:, None]
    first = np.floor(low).astype(np.intp)
    taps = int((np.ceil(high) - first).max())
    index = first + np.arange(taps)
    covered = np.clip(np.minimum(index + 1, high) - np.maximum(index, low), 0, None) / (high - low)
    starts = np.arange(0, count * taps + 1, taps)
    places = np.minimum(index, size - 1)
    return sparse.csr_array((covered.astype(np.float32).ravel(), places.ravel(), starts), shape=(count, size))
