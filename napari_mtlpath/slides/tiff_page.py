"""The native tiles of one TIFF page: where they lie and how they decode, in any number of threads."""

import threading
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.slides.foreign_errors import FOREIGN_ERRORS, brief
from napari_mtlpath.slides.jpeg import complete_stream, decode_jpeg, joined_stream, stream_prefix
from napari_mtlpath.slides.jpeg_block import LONGEST_PX, BlockHeader, decode_block
from napari_mtlpath.slides.pixel_format import JPEG_2000, RGB, YCBCR, pixel_format
from napari_mtlpath.slides.resample import shrink
from napari_mtlpath.slides.shared_file import SharedFile
from napari_mtlpath.slides.source import SlideError, StoredLevel, TileUnreadable
from napari_mtlpath.slides.structure import MAX_TILE_PIXELS, TilePlaces, outside

BAND_PX = 512
"""Flat strips (of stripped TIFF, of NDPI) are presented as bands of about this height."""

APERIO_YCBCR = 33003

CACHE_SHY = 32
"""libjpeg-turbo writes rows that begin at a multiple of this many bytes past the processor's cache (AVX2 streaming
stores). Memory that is copied from at once must lie otherwise: pasting a tile from main memory costs twice as much."""


class TiffPage:
    """Reads the tiles of one page.

    Strips are grouped into bands of about 512 rows, so that a reader of the level always meets tiles of a useful size.

    Parameters
    ----------
    file
        The file the page lies in.
    page
        A ``tifffile.TiffPage`` (a keyframe) of that file.
    name
        The file's name, for messages.
    sparse
        Colour of tiles of 0 bytes where the vendor declares them to be background; otherwise they are unreadable.
    places
        Where the tiles lie, as the structure check found them; from tifffile when None.

    Raises
    ------
    SlideError
        If the pixels cannot be shown correctly.
    """

    def __init__(
        self,
        file: SharedFile,
        page: Any,  # noqa: ANN401  # tifffile is untyped
        name: str,
        *,
        sparse: tuple[int, int, int] | None = None,
        places: TilePlaces | None = None,
    ) -> None:
        self._file = file
        self._page = page
        self._format = pixel_format(page, name)
        self._sparse = sparse
        self.note = self._format.note
        self.height, self.width = int(page.imagelength), int(page.imagewidth)
        self._chunk_height = int(page.tilelength) if page.is_tiled else int(page.rowsperstrip) or self.height
        self._chunk_height = min(self._chunk_height, self.height) if not page.is_tiled else self._chunk_height
        self._chunk_width = int(page.tilewidth) if page.is_tiled else self.width
        self._planes = int(page.samplesperpixel) if int(page.planarconfig) == 2 else 1
        if places is None or page.jpegheader is not None:
            offsets, counts = np.asarray(page.dataoffsets, np.uint64), np.asarray(page.databytecounts, np.uint64)
            places = TilePlaces(offsets=offsets, counts=counts, cut=outside(offsets, counts, file.size))
        self._offsets, self._counts, self._bad = places.offsets, places.counts, places.cut
        self._columns = -(-self.width // self._chunk_width)
        self._rows = -(-self.height // self._chunk_height)
        if len(self._offsets) < self._rows * self._columns * self._planes or len(self._counts) < len(self._offsets):
            raise SlideError(f"{name!r} lists too few tiles for its size. Copy or download the slide again.")
        # tifffile presents the restart intervals of an NDPI level as flat tiles.
        flat = not page.is_tiled or page.jpegheader is not None
        self._band = max(1, BAND_PX // self._chunk_height) if flat else 1
        if self._chunk_height * self._band * self._chunk_width > MAX_TILE_PIXELS:
            raise SlideError(f"{name!r} is stored in strips too large to read apart. Convert it to a tiled TIFF.")
        self._ndpi_header: bytes | None = page.jpegheader
        ycbcr = {YCBCR: True, RGB: False}.get(int(page.photometric)) if self._planes == 1 else None
        self._prefix = stream_prefix(page.jpegtables, ycbcr=ycbcr)
        self._joined = self._format.jpeg and self._ndpi_header is not None
        # Everything that must be so that a tile is one JPEG stream and no more.
        self._plain = self._format.jpeg and not self._joined and self._planes == 1 and self._band == 1
        self._whole = self.height // self._chunk_height, self.width // self._chunk_width
        self._header: BlockHeader | None = None  # what the tile before began with
        self._memory = threading.local()

    def level(self, downsample: tuple[float, float]) -> StoredLevel:
        """Describe the page as a stored level."""
        return StoredLevel(
            height=self.height,
            width=self.width,
            tile_height=self._chunk_height * self._band,
            tile_width=self._chunk_width,
            downsample=downsample,
        )

    def read(self, row: int, column: int, denominator: int, *, passing: bool = False) -> NDArray[np.uint8]:
        """Decode one tile or band; see ``SlideSource.read_tile``, and ``read_passing`` for `passing`."""
        if self._plain and 0 <= row < self._whole[0] and 0 <= column < self._whole[1]:
            # The way that a scan goes: nothing to cut, nothing to join.
            wanted = self._chunk_height / denominator, self._chunk_width / denominator, 3
            pixels = self._decode(row, column, denominator, self._scratch() if passing else None)
            if pixels.shape == wanted:
                return pixels
        rows = range(row * self._band, min((row + 1) * self._band, self._rows))
        if row < 0 or not rows or not 0 <= column < self._columns:
            raise TileUnreadable(f"there is no tile {row}, {column}")
        height = min(len(rows) * self._chunk_height, self.height - rows.start * self._chunk_height)
        width = min(self._chunk_width, self.width - column * self._chunk_width)
        # At the slide's edge the padding inside a JPEG would bleed into scaled pixels: decode in full, cut, shrink.
        whole = height % self._chunk_height == 0 and width == self._chunk_width
        scaled = denominator if whole and self._format.jpeg and self._chunk_height % denominator == 0 else 1
        if self._joined:
            pixels = self._decode_joined(rows, column, scaled)
        else:
            parts = [self._decode(chunk, column, scaled) for chunk in rows]
            pixels = parts[0] if len(parts) == 1 else np.concatenate(parts)
        height, width = -(-height // scaled), -(-width // scaled)
        if pixels.shape[0] < height or pixels.shape[1] < width:
            raise TileUnreadable(f"the tile decodes to {pixels.shape[0]} x {pixels.shape[1]}, not {height} x {width}")
        return shrink(pixels[:height, :width], denominator // scaled)

    def read_block(self, rows: range, columns: range, denominator: int) -> NDArray[np.uint8] | None:
        """Decode whole JPEG tiles together; see ``SlideSource.read_block``."""
        count, high = len(rows) * len(columns), self._chunk_height
        inside = rows.start >= 0 and rows.stop <= self._whole[0]
        inside &= columns.start >= 0 and columns.stop <= self._whole[1]
        if not (self._plain and inside and count <= denominator**2 and count * high <= LONGEST_PX):
            return None
        tiles = [self._bytes(row * self._columns + column) for row in rows for column in columns]
        header = self._header
        if header is None or not tiles[0].startswith(header.shared):
            header = BlockHeader.of(tiles[0], self._prefix, height=high, width=self._chunk_width)
            self._header = header
        stream = header.joined(tiles, height=high) if header is not None else None
        if stream is None:
            return None
        high, wide = high // denominator, self._chunk_width // denominator
        scratch = self._scratch()[: count * high * wide * 3].reshape(count * high, wide, 3)
        pixels = decode_block(stream, scratch, denominator=denominator)
        if pixels is None:
            return None
        out = np.empty((len(rows) * high, len(columns) * wide, 3), np.uint8)
        places = out.reshape(len(rows), high, len(columns), wide, 3)
        places[:] = pixels.reshape(len(rows), len(columns), high, wide, 3).transpose(0, 2, 1, 3, 4)
        return out

    def _scratch(self) -> NDArray[np.uint8]:
        """Return this thread's memory for one decoded tile, flat."""
        scratch: NDArray[np.uint8] | None = getattr(self._memory, "scratch", None)
        if scratch is None:
            count = self._chunk_height * self._chunk_width * 3
            memory = np.empty(count + CACHE_SHY, np.uint8)
            start = (4 - memory.ctypes.data) % CACHE_SHY
            scratch = self._memory.scratch = memory[start : start + count]
        return scratch

    def _bytes(self, index: int) -> bytes:
        if self._bad[index]:
            raise TileUnreadable("the tile lies outside the file")
        count = int(self._counts[index])
        if count == 0:
            raise TileUnreadable("the tile has 0 bytes")
        data = self._file.read_at(int(self._offsets[index]), count)
        if len(data) < count:
            raise TileUnreadable("the file ends inside the tile")
        return data

    def _decode(
        self, row: int, column: int, denominator: int, scratch: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        index = row * self._columns + column
        if self._sparse is not None and self._counts[index] == 0:
            shape = (self._chunk_height // denominator, self._chunk_width // denominator, 3)
            return np.broadcast_to(np.array(self._sparse, np.uint8), shape)
        if self._planes > 1:
            step = self._rows * self._columns
            planes = [self._decode_chunk(index + plane * step) for plane in range(self._planes)]
            return self._format.convert(np.concatenate(planes, axis=2))
        if not self._format.jpeg:
            return self._format.convert(self._decode_chunk(index))
        stream = complete_stream(self._prefix, self._bytes(index))
        size = {"height": self._chunk_height, "width": self._chunk_width, "denominator": denominator}
        return decode_jpeg(stream, scratch=scratch, **size)

    def _decode_chunk(self, index: int) -> NDArray[Any]:
        """Decode one chunk of any codec to [y, x, sample]."""
        data = self._bytes(index)
        try:
            if int(self._page.compression) in JPEG_2000:
                return _jpeg_2000(data, self._page, (self._chunk_height, self._chunk_width))
            pixels, _, _ = self._page.decode(data, index, jpegtables=self._page.jpegtables)
        except FOREIGN_ERRORS as error:
            raise TileUnreadable(f"the tile does not decode: {brief(error)}") from error
        if pixels is None:
            raise TileUnreadable("the tile is empty")
        return pixels[0]

    def _decode_joined(self, rows: range, column: int, denominator: int) -> NDArray[np.uint8]:
        assert self._ndpi_header is not None
        segments = [self._bytes(row * self._columns + column) for row in rows]
        height = len(rows) * self._chunk_height
        stream = joined_stream(self._ndpi_header, segments, height=height)
        return decode_jpeg(stream, height=height, width=self._chunk_width, denominator=denominator)


def _jpeg_2000(data: bytes, page: Any, shape: tuple[int, int]) -> NDArray[Any]:  # noqa: ANN401  # tifffile is untyped
    height, width = _jpeg_2000_size(data)
    if height > shape[0] or width > shape[1]:
        raise TileUnreadable(f"the tile's JPEG 2000 is {height} x {width}, not {shape[0]} x {shape[1]}")
    pixels = imagecodecs.jpeg2k_decode(data)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if int(page.compression) == APERIO_YCBCR and pixels.shape[2] == 3:
        pixels = imagecodecs.jpeg2k_decode(data) if pixels.dtype != np.uint8 else _ycbcr_to_rgb(pixels)
    return pixels


def _jpeg_2000_size(data: bytes) -> tuple[int, int]:
    """Return the height and width that a JPEG 2000 codestream claims."""
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or len(data) < start + 24:
        raise TileUnreadable("the tile's bytes do not begin as JPEG 2000")
    x1, y1, x0, y0 = (int.from_bytes(data[start + at : start + at + 4], "big") for at in (8, 12, 16, 20))
    return y1 - y0, x1 - x0


def _ycbcr_to_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert full-range YCbCr (ITU-R BT.601, as in JFIF) to RGB."""
    y, cb, cr = (pixels[..., channel].astype(np.float32) for channel in range(3))
    cb, cr = cb - 128, cr - 128
    rgb = np.stack((y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb), axis=2)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
