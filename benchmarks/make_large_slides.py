"""Make slides of 20,480 and 61,440 pixels a side out of real tissue, for timing only; they are never committed.

A block of 2,048 px is cut from the middle of the real slide CMU-1-Small-Region.svs, turned and flipped into eight
variants, and laid out at random. Tiles are JPEG, quality 80, 4:2:0, 256 px, 0.17 bytes per pixel; levels are 1, 4 and
16, as Aperio writes them. Every block is encoded once per level, so even the large slide is written in the time that
its bytes take.

    python -m benchmarks.make_large_slides [--data FOLDER] [--out FOLDER]
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import simplejpeg
import tifffile
from numpy.typing import NDArray

from napari_mtlpath.files import replacing
from napari_mtlpath.folders import cache_folder
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.resample import shrink

BLOCK, TILE, LEVELS, QUALITY = 2048, 256, (1, 4, 16), 80
SIZES = {"s20k": 20480, "s60k": 61440}
SOURCE = "CMU-1-Small-Region.svs"
DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data"


def large_slide(name: str, *, data: Path | None = None, out: Path | None = None) -> Path:
    """Return the path of the slide called `name` (s20k or s60k), made now if it is not there yet.

    Raises
    ------
    FileNotFoundError
        If the real slide that it is made of is absent.
    """
    data = data or Path(os.environ.get("MTLPATH_DATA", DEFAULT_DATA))
    path = (
        out or cache_folder() / "bench"
    ) / f"{name}-one-block.svs"  # not those of before, which were made of two blocks
    if not path.is_file():
        blocks = _variants(_block(data / "wsi" / SOURCE))
        with replacing(path) as temporary:
            _write(temporary, SIZES[name], blocks)
    return path


def _block(path: Path) -> NDArray[np.uint8]:
    slide = open_slide(path)
    return slide.read_region((slide.height - BLOCK) // 2, (slide.width - BLOCK) // 2, BLOCK, BLOCK).array


def _variants(block: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [np.ascontiguousarray(np.rot90(face, turns)) for face in (block, block[:, ::-1]) for turns in range(4)]


def _write(path: Path, size: int, blocks: list[NDArray[np.uint8]]) -> None:
    layout = np.random.default_rng(0).integers(len(blocks), size=(size // BLOCK, size // BLOCK))
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for level, factor in enumerate(LEVELS):
            small = [shrink(block, factor) for block in blocks]
            side = size // factor
            text = (
                f"Aperio Image Library v11.2.1 \r\n{side}x{side} (256x256) JPEG/RGB Q={QUALITY}|AppMag = 20|MPP = 0.5"
            )
            writer.write(
                _tiles(layout, small, side),
                shape=(side, side, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                description=text,
                metadata=None,
            )
            if level == 0:
                thumbnail = np.full((64, 64, 3), 230, np.uint8)
                writer.write(thumbnail, photometric="rgb", description=text, metadata=None)


def _tiles(layout: NDArray[np.int64], blocks: list[NDArray[np.uint8]], side: int) -> Iterator[bytes]:
    """Yield the encoded tiles of one level, row by row."""
    block = len(blocks[0])
    known: dict[tuple[int, ...], bytes] = {}
    for y in range(0, side, TILE):
        for x in range(0, side, TILE):
            rows = range(y // block, -(-(y + TILE) // block))
            columns = range(x // block, -(-(x + TILE) // block))
            here = tuple(int(layout[row, column]) for row in rows for column in columns)
            key = (*here, y % block, x % block)
            if key not in known:
                around = np.concatenate([np.concatenate([blocks[layout[r, c]] for c in columns], 1) for r in rows])
                top, left = y - rows.start * block, x - columns.start * block
                tile = np.ascontiguousarray(around[top : top + TILE, left : left + TILE])
                known[key] = simplejpeg.encode_jpeg(tile, quality=QUALITY, colorspace="RGB", colorsubsampling="420")
            yield known[key]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None, help="folder of the real slide's data")
    parser.add_argument("--out", type=Path, default=None, help="folder to write to; the user's cache by default")
    arguments = parser.parse_args()
    for slide_name in SIZES:
        print(large_slide(slide_name, data=arguments.data, out=arguments.out))
