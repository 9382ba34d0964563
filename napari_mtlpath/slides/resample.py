"""Bringing pixels to another size by the mean over the area that each new pixel covers."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def resize(
    pixels: NDArray[np.uint8], *, box: tuple[float, float, float, float], height: int, width: int
) -> NDArray[np.uint8]:
    """Resample a part of `pixels` with borders between pixels to `height` x `width`.

    Shrinking takes the exact area mean (each source pixel weighs by the part of it that is covered); growing is
    bilinear.

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
    if all(value.is_integer() for value in (y0, x0, y1, x1)):
        pixels = pixels[int(y0) : int(y1), int(x0) : int(x1)]
        if pixels.shape[:2] == (height, width):
            return np.ascontiguousarray(pixels)
        factor = pixels.shape[0] // height
        if pixels.shape[:2] == (height * factor, width * factor):
            return shrink(pixels, factor)
        y0, x0, y1, x1 = 0.0, 0.0, float(pixels.shape[0]), float(pixels.shape[1])
    grows = y1 - y0 < height or x1 - x0 < width
    image = Image.fromarray(np.ascontiguousarray(pixels))
    method = Image.Resampling.BILINEAR if grows else Image.Resampling.BOX
    return np.array(image.resize((width, height), method, box=(x0, y0, x1, y1)))


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
