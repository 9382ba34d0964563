"""Smear -> tiled JPEG pyramid TIFF, with its truth beside it."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_mtlpath.files import replacing
from napari_mtlpath.simulation.cells import CellSet
from napari_mtlpath.simulation.smear import NOMINAL_MPP, Smear, SmearSpec, turned

JPEG_QUALITY = 90
CELLS_PER_TILE = 2
"""Native tiles hold 2 x 2 cells, so that a cell is never cut by a tile."""

SMALLEST_LEVEL_PX = 1024
MICRONS_PER_CM = 10_000.0
DESCRIPTION = "Simulated slide composed of real cells (PBC, Acevedo et al. 2020, CC BY 4.0). Pixel size is nominal."


def write_smear(path: Path, cells: CellSet, smear: Smear) -> Path:
    """Write the smear as a pyramid TIFF (levels 1, 2, 4 ...) and its truth as ``<name>.truth.npz``; return `path`.

    JPEG of quality 90 without chroma subsampling codes blocks of 8 x 8 pixels one by one, and cells and tiles are
    multiples of 8: so the pixels of a cell on the smear are those of the cell coded by itself (:func:`recoded`).

    Parameters
    ----------
    path
        The file, ending in ``.tif`` or ``.tiff``.
    cells
        The set that `smear` was composed from.
    """
    level = draw_smear(cells, smear)
    tile = cells.images.shape[1] * CELLS_PER_TILE
    with replacing(path) as temporary, tifffile.TiffWriter(temporary) as writer:
        for number, pixels in enumerate(_levels(level)):
            downsample = 2**number
            per_cm = MICRONS_PER_CM / (NOMINAL_MPP * downsample)
            writer.write(
                pixels,
                photometric="rgb",
                subsampling=(1, 1),
                tile=(tile, tile),
                compression="jpeg",
                compressionargs={"level": JPEG_QUALITY},
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                subfiletype=1 if number else 0,
                description=None if number else DESCRIPTION,
                metadata=None,
                software="napari-mtlpath",
            )
    write_truth(truth_path(path), cells, smear)
    return path


def draw_smear(cells: CellSet, smear: Smear) -> NDArray[np.uint8]:
    """Return the smear's pixels before coding, [y, x, 3]."""
    side = cells.images.shape[1]
    rows, columns = smear.cells.shape
    canvas = np.empty((rows * side, columns * side, 3), np.uint8)
    for row, column in np.ndindex(rows, columns):
        image = turned(cells.images[smear.cells[row, column]], int(smear.turns[row, column]))
        canvas[row * side : (row + 1) * side, column * side : (column + 1) * side] = image
    return canvas


def recoded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image as it comes back from a smear's JPEG coding."""
    import imagecodecs

    coded = imagecodecs.jpeg8_encode(
        np.ascontiguousarray(image), level=JPEG_QUALITY, colorspace="rgb", outcolorspace="ycbcr", subsampling="444"
    )
    return imagecodecs.jpeg8_decode(coded)


def truth_path(path: Path) -> Path:
    """Return where the truth of the smear at `path` lies."""
    return path.with_suffix(".truth.npz")


def write_truth(path: Path, cells: CellSet, smear: Smear) -> None:
    """Write which cell lies where and what it is."""
    names = np.array(cells.names)[smear.cells]
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            spec=json.dumps(asdict(smear.spec)),
            names=names,
            cells=smear.cells,
            turns=smear.turns,
            is_witness=smear.is_witness,
            is_neutrophil=smear.is_neutrophil,
            is_vacuolated=smear.is_vacuolated,
        )


def read_truth(path: Path) -> Smear:
    """Read the truth of a smear; `cells` are rows of the set that it was composed from."""
    with np.load(path, allow_pickle=False) as stored:
        fields = {name: stored[name] for name in ("cells", "turns", "is_witness", "is_neutrophil", "is_vacuolated")}
        return Smear(spec=SmearSpec(**json.loads(str(stored["spec"]))), **fields)


def _levels(level: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    yield level
    while max(level.shape[:2]) > SMALLEST_LEVEL_PX:
        height, width = (2 * (side // 2) for side in level.shape[:2])
        blocks = level[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
        level = (blocks.mean((1, 3)) + 0.5).astype(np.uint8)
        yield level
