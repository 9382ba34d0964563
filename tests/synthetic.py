"""Small slides with known pixels, written for tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

DESCRIPTION = (
    "Aperio Image Library v11.2.1 \r\n{width}x{height} [0,0 {width}x{height}] ({tile}x{tile}) JPEG/RGB Q=80"
    "|AppMag = 20{mpp}|ScanScope ID = PHI-CANARY|User = PHI-CANARY|Date = 01/02/03"
)


def tissue(height: int, width: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Return smooth pink and violet clouds on white, [height, width, 3]; JPEG keeps them nearly as they are."""
    random = np.random.default_rng(seed)
    coarse = random.normal(size=(max(3, height // 64), max(3, width // 64), 2))
    rows = np.linspace(0, coarse.shape[0] - 1.001, height)
    columns = np.linspace(0, coarse.shape[1] - 1.001, width)
    y, x = rows.astype(int), columns.astype(int)
    fy, fx = (rows - y)[:, None, None], (columns - x)[None, :, None]
    smooth = (
        coarse[y][:, x] * (1 - fy) * (1 - fx)
        + coarse[y + 1][:, x] * fy * (1 - fx)
        + coarse[y][:, x + 1] * (1 - fy) * fx
        + coarse[y + 1][:, x + 1] * fy * fx
    )
    eosin, haematoxylin = np.clip(smooth[..., :1], 0, 1), np.clip(smooth[..., 1:], 0, 1)
    white, pink, violet = np.array([250, 250, 250]), np.array([20, 110, 60]), np.array([120, 150, 60])
    return np.clip(white - eosin * pink - haematoxylin * violet, 0, 255).astype(np.uint8)


def reduced(array: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return the mean over squares of `factor` pixels, without the last ones that do not fill a square."""
    height, width = array.shape[0] // factor, array.shape[1] // factor
    squares = array[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    return np.rint(squares.mean(axis=(1, 3))).astype(np.uint8)


def write_aperio_like(
    path: Path,
    array: NDArray[np.uint8],
    *,
    levels: Sequence[int] = (1, 4),
    mpp: float | str | None = 0.5,
    tile: int = 256,
    quality: int = 90,
    label: bool = False,
) -> Path:
    """Write an Aperio-like SVS: tiled JPEG levels, a thumbnail, optionally a label and a macro image.

    Parameters
    ----------
    path
        Where to write; should end in ``.svs``.
    array
        Level 0, [y, x, 3] of uint8.
    levels
        Downsampling of each level, the first being 1.
    mpp
        Microns per pixel as written into the description; None leaves the field out, text is written as it is.
    tile
        Side of the native tiles in pixels.
    quality
        JPEG quality.
    label
        Whether to add a label and a macro image.

    Returns
    -------
    `path`.
    """
    said = "" if mpp is None else f"|MPP = {mpp}"
    jpeg = {"compression": "jpeg", "compressionargs": {"level": quality}, "metadata": None}
    with tifffile.TiffWriter(path) as writer:
        for number, factor in enumerate(levels):
            pixels = reduced(array, factor) if factor > 1 else array
            height, width = pixels.shape[:2]
            text = DESCRIPTION.format(width=width, height=height, tile=tile, mpp=said)
            writer.write(pixels, tile=(tile, tile), photometric="rgb", description=text, **jpeg)
            if number == 0:
                small = np.ascontiguousarray(array[:: max(1, height // 64), :: max(1, width // 64)])
                writer.write(small, photometric="rgb", description=text, rowsperstrip=16, **jpeg)
        if label:
            for name, subfiletype, colour in (("label", 1, 200), ("macro", 9, 90)):
                picture = np.full((48, 80, 3), colour, np.uint8)
                writer.write(
                    picture,
                    photometric="rgb",
                    subfiletype=subfiletype,
                    description=f"Aperio Image Library v11.2.1 \r\n{name} 80x48",
                    metadata=None,
                    compression="lzw",
                )
    return path


def write_pyramid(
    path: Path,
    array: NDArray[np.uint8],
    *,
    levels: Sequence[int] = (1, 2, 4),
    mpp: float | None = 0.5,
    tile: int = 256,
    compression: str | None = "deflate",
) -> Path:
    """Write a generic tiled pyramid, lossless unless `compression` is ``"jpeg"``; `mpp` goes into the tags."""
    resolution = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as writer:
        for factor in levels:
            writer.write(
                reduced(array, factor) if factor > 1 else array,
                tile=(tile, tile),
                photometric="rgb",
                subfiletype=0 if factor == 1 else 1,
                compression=compression,
                metadata=None,
                **resolution,
            )
    return path
