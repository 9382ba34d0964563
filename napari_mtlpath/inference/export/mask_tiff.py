"""A pixel task's answer for a whole slide as a pyramidal OME-TIFF with its physical pixel size."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.files import replacing
from napari_mtlpath.inference.export.mask_bands import NOT_ANALYSED, MaskBands
from napari_mtlpath.inference.export.provenance import Provenance
from napari_mtlpath.inference.pixels.lattice import HALVINGS
from napari_mtlpath.inference.pixels.maps import PixelMaps
from napari_mtlpath.inference.pixels.planes import FULL
from napari_mtlpath.tasks import PixelRegression, PixelTask, Segmentation

TILE_PX = 256
SMALLEST_LEVEL = 512
"""No further level is written once one is at most so many pixels long."""

BIG = 2**31
"""From so many pixels on the file is a BigTIFF: offsets of 32 bits may not suffice."""


def write_mask(path: Path, maps: PixelMaps, task: PixelTask, provenance: Provenance) -> None:
    """Write one pixel task of a slide.

    A segmentation: the class numbers as uint8, 255 where nothing was analysed. A pixel regression: its values as
    float32, NaN where nothing was analysed. The first pixel's upper left corner is that of the slide.
    """
    import tifffile

    plane = maps.planes.labels(task.name) if isinstance(task, Segmentation) else maps.planes.first(task.name)
    levels = [MaskBands(maps, plane, level=level) for level in range(HALVINGS + 1)]
    levels = [one for number, one in enumerate(levels) if not number or max(levels[number - 1].shape) > SMALLEST_LEVEL]
    dtype = np.dtype(np.uint8 if isinstance(task, Segmentation) else np.float32)
    shared: dict[str, Any] = {
        "dtype": dtype,
        "tile": (TILE_PX, TILE_PX),
        "compression": "zlib",
        "photometric": "minisblack",
    }
    height, width = levels[0].shape
    with (
        replacing(path) as temporary,
        tifffile.TiffWriter(temporary, ome=True, bigtiff=height * width * dtype.itemsize > BIG) as file,
    ):
        metadata = _metadata(maps, task, provenance)
        file.write(_tiles(levels[0], task), shape=levels[0].shape, subifds=len(levels) - 1, metadata=metadata, **shared)
        for level in levels[1:]:
            file.write(_tiles(level, task), shape=level.shape, subfiletype=1, metadata=None, **shared)


def _metadata(maps: PixelMaps, task: PixelTask, provenance: Provenance) -> dict[str, Any]:
    pixel_y, pixel_x = maps.lattice.pixel_um
    if isinstance(task, Segmentation):
        names = ", ".join(f"{number} {name}" for number, name in enumerate(task.classes))
        what = f"Classes: {names}, {NOT_ANALYSED} not analysed."
    else:
        what = f"Values from {task.low:g} to {task.high:g} {task.unit}".rstrip() + f" in steps of a {FULL}th."
    return {
        "axes": "YX",
        "Name": task.name,
        "Description": f"{what} {provenance.sentence}",
        "PhysicalSizeX": pixel_x,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": pixel_y,
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": [task.title or task.name]},
    }


def _tiles(bands: MaskBands, task: PixelTask) -> Iterator[NDArray[np.generic]]:
    """Yield the file's tiles row by row; those at the edges are filled up by tifffile."""
    for pixels, known in bands.bands(TILE_PX):
        shown = _values(pixels, known, task)
        for left in range(0, shown.shape[1], TILE_PX):
            yield shown[:, left : left + TILE_PX]


def _values(pixels: NDArray[np.uint8], known: NDArray[np.bool_], task: PixelTask) -> NDArray[np.generic]:
    if isinstance(task, PixelRegression):
        values = task.low + pixels.astype(np.float32) / np.float32(FULL) * np.float32(task.high - task.low)
        return np.where(known, values, np.float32(np.nan)).astype(np.float32)
    return np.where(known, pixels, np.uint8(NOT_ANALYSED))
