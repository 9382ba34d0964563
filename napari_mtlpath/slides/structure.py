"""A bounded walk through a TIFF's directories before any library sees the file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.slides.shared_file import SharedFile
from napari_mtlpath.slides.source import SlideError
from napari_mtlpath.slides.structure_tags import (
    NDPI_MARK,
    SUB_DIRECTORIES,
    Directory,
    Layout,
    parse_directory,
    parse_layout,
)

MAX_DIRECTORIES = 4096
MAX_LEVELS = 64
"""Sub-directories of one directory; slides keep their pyramid there."""

MAX_SIDE = 4_000_000
MAX_TILE_PIXELS = 64 * 2**20
MAX_TILE_BYTES = 256 * 2**20
MAX_TILES = 4_000_000
MIN_TILE_PIXELS = 256
"""Tiles smaller than this would cost more to find than to decode; no scanner writes them."""


@dataclass(frozen=True, kw_only=True)
class TilePlaces:
    """Where the tiles (or strips) of one directory lie.

    Attributes
    ----------
    offsets, counts
        First byte and number of bytes of each tile.
    cut
        Which of them lie outside the file.
    """

    offsets: NDArray[np.uint64]
    counts: NDArray[np.uint64]
    cut: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class StructureReport:
    """What the walk found.

    Attributes
    ----------
    directories
        All directories, in the order of the chain, sub-directories after their parent.
    ndpi
        Whether the file counts as Hamamatsu's NDPI does.
    patches
        Bytes to put in place of others, by file offset, so that libraries do not see tags that would hang them.
    places
        Places of the tiles, by their directory's offset; without NDPI levels, which have one strip each.
    warnings
        Sentences for the user, such as tiles that lie beyond the end of the file.
    """

    directories: tuple[Directory, ...]
    ndpi: bool
    patches: dict[int, bytes]
    places: dict[int, TilePlaces]
    warnings: tuple[str, ...]


def check_structure(path: Path) -> StructureReport:
    """Check a file from outside; see `check_open_file`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    SlideError
        With one sentence, if it is not a TIFF whose structure holds.
    """
    file = SharedFile(path)
    try:
        return check_open_file(file)
    finally:
        file.close()


def check_open_file(file: SharedFile) -> StructureReport:
    """Walk all directories of a TIFF, BigTIFF or NDPI within fixed bounds of time and memory.

    Refused are loops and broken chains, tags whose values lie outside the file, sizes beyond what a slide can have,
    tiles beyond 64 megapixels or 256 MiB, and a main image without a single readable tile. Single tiles that lie
    outside the file are left to reading, where they count as unreadable.

    Raises
    ------
    SlideError
        With one sentence that says what was expected, found and what to do.
    """
    layout = parse_layout(file)
    directories: list[Directory] = []
    warnings: list[str] = []
    patches: dict[int, bytes] = {}
    visited: set[int] = set()
    offset = layout.first
    while offset:
        layout, directory = _step(file, layout, offset, visited)
        directories.append(directory)
        children = directory.numbers(file, layout, SUB_DIRECTORIES)
        if len(children) > MAX_LEVELS:
            raise corrupt(file, f"directory {len(directories)} lists {len(children)} levels, more than {MAX_LEVELS}")
        for child in children:
            if int(child):
                layout, level = _step(file, layout, int(child), visited)
                directories.append(level)
        offset = directory.following
    if not directories:
        raise corrupt(file, "it holds no image directory")
    places: dict[int, TilePlaces] = {}
    for number, directory in enumerate(directories):
        patches.update(directory.patches)
        found = _check_image(file, layout, directory, number, warnings)
        if found is not None:
            places[directory.offset] = found
    if any(directory.patches for directory in directories):
        warnings.append("Some metadata of the file is damaged or larger than 1 MiB and was ignored.")
    return StructureReport(
        directories=tuple(directories), ndpi=layout.ndpi, patches=patches, places=places, warnings=tuple(warnings)
    )


def _step(file: SharedFile, layout: Layout, offset: int, visited: set[int]) -> tuple[Layout, Directory]:
    if offset in visited:
        raise corrupt(file, f"its image directories form a loop at byte {offset}")
    if len(visited) >= MAX_DIRECTORIES:
        raise corrupt(file, f"it has more than {MAX_DIRECTORIES} image directories")
    visited.add(offset)
    return parse_directory(file, layout, offset)


def _check_image(
    file: SharedFile, layout: Layout, directory: Directory, number: int, warnings: list[str]
) -> TilePlaces | None:
    where = f"image {number + 1}"
    if number and not (directory.has(256) or directory.has(257)):
        return None  # Not an image: some writers keep other things in directories.
    height, width = directory.one(file, layout, 257), directory.one(file, layout, 256)
    if not (height and width and 0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise corrupt(file, f"{where} claims a size of {height} x {width} pixels")
    samples = directory.one(file, layout, 277, default=1)
    depths = directory.numbers(file, layout, 258)
    bits = int(depths.max()) if len(depths) else 1
    if not (samples and 0 < samples <= 64 and 0 < bits <= 64 and (not len(depths) or int(depths.min()) > 0)):
        raise corrupt(file, f"{where} claims {samples} samples of {bits} bits per pixel")
    tile_height, tile_width = _tile_size(file, layout, directory, (height, width), where)
    if layout.ndpi and directory.has(NDPI_MARK):  # One strip holds a whole level; its restart markers cut it up.
        return None
    tile_bytes = tile_height * tile_width * samples * bits // 8
    if tile_height * tile_width > MAX_TILE_PIXELS or tile_bytes > MAX_TILE_BYTES:
        raise SlideError(
            f"{file.path.name!r} stores {where} in tiles of {tile_height} x {tile_width} pixels; at most 64 megapixels "
            "and 256 MiB per tile are read. Convert it to a tiled pyramidal TIFF."
        )
    planes = samples if directory.one(file, layout, 284, default=1) == 2 else 1
    expected = -(-height // tile_height) * -(-width // tile_width) * planes
    if expected > MAX_TILES or (expected > 1 and directory.has(322) and tile_height * tile_width < MIN_TILE_PIXELS):
        raise corrupt(file, f"{where} claims {expected} tiles of {tile_height} x {tile_width} pixels")
    return _check_tiles(file, layout, directory, expected, number, warnings)


def _tile_size(
    file: SharedFile, layout: Layout, directory: Directory, size: tuple[int, int], where: str
) -> tuple[int, int]:
    if directory.has(322) or directory.has(323):
        tile = directory.one(file, layout, 323) or 0, directory.one(file, layout, 322) or 0
    else:
        # A strip as tall as the image is also written as 2**32 - 1 rows.
        tile = min(directory.one(file, layout, 278, default=size[0]) or 0, size[0]), size[1]
    if min(tile) <= 0:
        raise corrupt(file, f"{where} claims tiles of {tile[0]} x {tile[1]} pixels")
    return tile


def _check_tiles(
    file: SharedFile, layout: Layout, directory: Directory, expected: int, number: int, warnings: list[str]
) -> TilePlaces:
    offsets, counts = directory.tiles(file, layout)
    if len(offsets) < expected or len(counts) < expected:
        raise corrupt(
            file, f"image {number + 1} needs {expected} tiles but lists {len(offsets)} places and {len(counts)} sizes"
        )
    cut = outside(offsets[:expected], counts[:expected], file.size)
    missing = int(np.count_nonzero(cut))
    if missing == expected:
        raise SlideError(
            f"{file.path.name!r} is incomplete: no tile of image {number + 1} lies within the file's {file.size} "
            "bytes. Copy or download the slide again."
        )
    if missing:
        warnings.append(
            f"The file is incomplete or damaged: {missing} of {expected} tiles of image {number + 1} lie outside it; "
            "they are hatched and kept from the model."
        )
    return TilePlaces(offsets=offsets[:expected], counts=counts[:expected], cut=cut)


def outside(offsets: NDArray[np.uint64], counts: NDArray[np.uint64], size: int) -> NDArray[np.bool_]:
    """Return which tiles claim bytes that the file does not have; tiles of 0 bytes are not among them."""
    length = np.uint64(size)
    bad = (offsets < 8) | (offsets > length) | (counts > length)
    bad |= offsets + np.minimum(counts, length) > length
    return np.asarray(bad & (counts > 0))


def corrupt(file: SharedFile, finding: str) -> SlideError:
    """Return the error for a damaged structure."""
    kind = "NDPI" if file.path.suffix.lower() == ".ndpi" else "TIFF"
    return SlideError(
        f"{file.path.name!r} is damaged: a {kind} slide was expected, but {finding}. Copy or download it again."
    )
