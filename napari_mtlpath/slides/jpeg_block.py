"""Neighbouring JPEG tiles as one stream: decoded in one call, to the same bits as one by one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from napari_mtlpath.slides.jpeg import EOI, SOI, complete_stream

LONGEST_PX = 65500
"""libjpeg refuses images that are longer."""

MOST_UNITS = 0xFFFF
"""Largest restart interval that a JPEG can state."""

FRAMES = (0xC0, 0xC1)
"""Markers of sequential Huffman-coded frames; the other ones cannot be joined."""

OTHER_FRAMES = frozenset(range(0xC2, 0xD0)) - {0xC4, 0xC8}
RESTART_INTERVAL, SCAN = 0xDD, 0xDA

JOINABLE = ((1, 1), (2, 1), (2, 2))
"""How often the brightness is sampled per colour sample, (across, down). At half the size and below, libjpeg then makes
no pixel of rows above or below its own block, so nothing is smoothed over the seam between two tiles."""


@dataclass(frozen=True, kw_only=True)
class BlockHeader:
    """What the streams of one level's tiles begin with.

    Attributes
    ----------
    shared
        The bytes with which each tile's stream must begin.
    before_height, before_scan, scan
        The complete header in three parts, cut before and after the height and before the scan.
    units
        Coding units per tile: the restart interval. 0 where such tiles cannot be joined.
    """

    shared: bytes
    before_height: bytes
    before_scan: bytes
    scan: bytes
    units: int

    @classmethod
    def of(cls, data: bytes, prefix: bytes, *, height: int, width: int) -> "BlockHeader | None":
        """Read the header of one tile; None where it has none.

        Parameters
        ----------
        data
            The tile's stream as it lies in the file.
        prefix
            See ``complete_stream``.
        height, width
            Size of the tile in pixels.

        Raises
        ------
        TileUnreadable
            If `data` does not begin as a JPEG stream.
        """
        length = _header_length(data, len(SOI))
        if length is None:
            return None
        header = complete_stream(prefix, data[:length])
        frame, scan = _places(header) or (0, 0)
        units = _units(header[frame:scan], height, width) if frame else 0
        return cls(
            shared=data[:length],
            before_height=header[: frame + 5],
            before_scan=header[frame + 7 : scan],
            scan=header[scan:],
            units=units,
        )

    def joined(self, tiles: Sequence[bytes], *, height: int) -> bytes | None:
        """Return one stream with `tiles`, each `height` pixels high, below each other; None where one is different."""
        start = len(self.shared)
        if not (self.units and all(tile.startswith(self.shared) and tile.endswith(EOI) for tile in tiles)):
            return None
        interval = b"\xff\xdd\x00\x04" + self.units.to_bytes(2, "big")
        parts: list[bytes | memoryview] = [
            self.before_height,
            (height * len(tiles)).to_bytes(2, "big"),
            self.before_scan,
            interval,
            self.scan,
        ]
        for number, tile in enumerate(tiles):
            parts.extend((memoryview(tile)[start:-2], bytes((0xFF, 0xD0 + number % 8))))
        parts[-1] = EOI
        return b"".join(parts)


def decode_block(stream: bytes, scratch: NDArray[np.uint8], *, denominator: int) -> NDArray[np.uint8] | None:
    """Decode a joined stream at 1 / `denominator` into `scratch`, [y, x, 3]; None where anything is wrong with it."""
    height, width, _ = scratch.shape
    try:
        pixels = simplejpeg.decode_jpeg(
            stream, "RGB", buffer=scratch, min_height=height, min_width=width, min_factor=denominator
        )
    except ValueError:
        return None
    return pixels if pixels.shape == scratch.shape else None


def _header_length(data: bytes, at: int) -> int | None:
    """Return where the scan's coded data begin."""
    for marker, start, length in _markers(data, at):
        if marker == SCAN:
            return start + 2 + length
    return None


def _places(header: bytes) -> tuple[int, int] | None:
    """Return where frame and scan begin, or None where the stream is not of the plain kind."""
    frame = None
    for marker, start, length in _markers(header, len(SOI)):
        if marker in OTHER_FRAMES or (marker == RESTART_INTERVAL and any(header[start + 4 : start + 2 + length])):
            return None
        if marker in FRAMES:
            frame = start
        elif marker == SCAN:
            return None if frame is None else (frame, start)
    return None


def _units(frame: bytes, height: int, width: int) -> int:
    """Return how many coding units a tile of that size has, or 0 where the next tile would not begin a row of them."""
    size = int.from_bytes(frame[5:7], "big"), int.from_bytes(frame[7:9], "big")
    components = [frame[at + 1] for at in range(10, 10 + 3 * frame[9], 3)]
    if size != (height, width) or len(components) != 3 or components[1:] != [0x11, 0x11]:
        return 0
    across, down = components[0] >> 4, components[0] & 15
    if (across, down) not in JOINABLE or height % (8 * down):
        return 0
    units = -(-width // (8 * across)) * (height // (8 * down))
    return units if units <= MOST_UNITS else 0


def _markers(data: bytes, at: int) -> list[tuple[int, int, int]]:
    """Return the markers of a header with their places and the lengths that they state, up to the scan."""
    found = []
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((marker, at, length))
        if marker == SCAN or length < 2:
            break
        at += 2 + length
    return found
