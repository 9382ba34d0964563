"""Decoding the JPEG streams inside slides with libjpeg-turbo, at full size or at 1/2, 1/4 and 1/8."""

import math
import struct
import warnings

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from napari_mtlpath.slides.source import TileUnreadable

SOI = b"\xff\xd8"
JFIF = b"\xff\xe0\x00\x10JFIF\x00"
EOI = b"\xff\xd9"


def stream_prefix(tables: bytes | None, *, ycbcr: bool | None) -> bytes:
    """Return the bytes that go before an abbreviated stream (without its own start marker).

    Parameters
    ----------
    tables
        The TIFF tag JPEGTables: a stream with quantisation and Huffman tables only, or None.
    ycbcr
        What the TIFF says about the colours: True for YCbCr, False for RGB; None to leave it to the stream. libjpeg
        guesses from the stream alone, and guesses wrongly for the RGB JPEG of Aperio scanners, so an Adobe marker
        with the truth is put in.
    """
    prefix = SOI
    if tables and len(tables) >= 4:
        prefix += tables[2:-2] if tables.endswith(EOI) else tables[2:]
    if ycbcr is not None:
        prefix += b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + (b"\x01" if ycbcr else b"\x00")
    return prefix


YCBCR_PREFIX = stream_prefix(None, ycbcr=True)


def complete_stream(prefix: bytes, data: bytes) -> bytes:
    """Return `data`, a JPEG stream of one tile, with `prefix` in place of its beginning.

    Raises
    ------
    TileUnreadable
        If `data` does not begin as a JPEG stream.
    """
    if data[:2] != SOI:
        raise TileUnreadable("the tile's bytes do not begin as a JPEG")
    if prefix == YCBCR_PREFIX and data[2:11] == JFIF:
        return data  # Complete, and JFIF says YCbCr too: nothing to copy.
    start = 2
    # Markers JFIF and Adobe inside the tile would outvote the TIFF's own statement of its colours.
    while data[start : start + 2] in (b"\xff\xe0", b"\xff\xee") and len(prefix) > 2:
        start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return b"".join((prefix, memoryview(data)[start:]))


def decode_jpeg(
    data: bytes, *, height: int, width: int, denominator: int = 1, scratch: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Decode a complete JPEG stream to RGB.

    Parameters
    ----------
    data
        The stream.
    height, width
        Size of the tile that it should hold; a larger one is refused before it is decoded.
    denominator
        1, 2, 4 or 8: libjpeg's scaled decoding.
    scratch
        Memory of at least that size, flat, to decode into; new memory when None.

    Returns
    -------
    Array [y, x, 3] of uint8, at most ceil(height / denominator) by ceil(width / denominator).

    Raises
    ------
    TileUnreadable
        If the stream is damaged, cut or larger than said.
    """
    rows, columns = -(-height // denominator), -(-width // denominator)
    shape = rows, columns, 3
    buffer = np.empty(shape, np.uint8) if scratch is None else scratch[: math.prod(shape)].reshape(shape)
    smallest = {"min_height": rows, "min_width": columns, "min_factor": denominator} if denominator > 1 else {}
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", buffer=buffer, **smallest)
    except ValueError as error:
        if "extraneous bytes" not in str(error):
            raise TileUnreadable(f"the tile's JPEG is damaged: {error}") from error
        with warnings.catch_warnings():  # Padding before a marker, harmless, that some scanners write.
            warnings.simplefilter("ignore")
            pixels = _tolerant(data, buffer, smallest)
    if pixels.shape[0] > rows or pixels.shape[1] > columns:
        raise TileUnreadable(f"the tile's JPEG is {pixels.shape[0]} x {pixels.shape[1]}, not {rows} x {columns}")
    # The same memory, but owning it: a cache may keep it without a copy.
    return buffer if pixels.shape == buffer.shape else pixels


def _tolerant(data: bytes, buffer: NDArray[np.uint8], smallest: dict[str, int]) -> NDArray[np.uint8]:
    try:
        return simplejpeg.decode_jpeg(data, "RGB", buffer=buffer, strict=False, **smallest)
    except ValueError as error:
        raise TileUnreadable(f"the tile's JPEG is damaged: {error}") from error


def joined_stream(header: bytes, segments: list[bytes], *, height: int) -> bytes:
    """Return one JPEG made of restart segments that lie below each other.

    Parameters
    ----------
    header
        Stream from its start to the scan header, for one segment.
    segments
        Entropy-coded data of each segment, ending in its restart marker or in the end marker.
    height
        Height in pixels that the frame header must say.

    Raises
    ------
    TileUnreadable
        If the header holds no frame or a segment no marker.
    """
    frame = max(header.find(b"\xff\xc0\x00\x11"), header.find(b"\xff\xc1\x00\x11"))
    if frame < 0:
        raise TileUnreadable("the tile's JPEG header holds no baseline frame")
    parts = [header[: frame + 5], struct.pack(">H", height), header[frame + 7 :]]
    for number, segment in enumerate(segments):
        if len(segment) < 3 or segment[-2] != 0xFF:
            raise TileUnreadable("a strip of the tile's JPEG is cut")
        parts.append(segment[:-2])
        parts.append(EOI if number == len(segments) - 1 else bytes((0xFF, 0xD0 + number % 8)))
    return b"".join(parts)
