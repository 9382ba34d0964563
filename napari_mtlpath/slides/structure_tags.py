"""Headers, directories and tags of TIFF, BigTIFF and NDPI files, read from bytes with every size checked."""

import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.slides.shared_file import SharedFile
from napari_mtlpath.slides.source import SlideError

TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
INTEGER_TYPES = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}

NDPI_MARK = 65420
SUB_DIRECTORIES = 330
ESSENTIAL = {
    256: "ImageWidth",
    257: "ImageLength",
    258: "BitsPerSample",
    259: "Compression",
    262: "PhotometricInterpretation",
    273: "StripOffsets",
    277: "SamplesPerPixel",
    278: "RowsPerStrip",
    279: "StripByteCounts",
    284: "PlanarConfiguration",
    317: "Predictor",
    320: "ColorMap",
    322: "TileWidth",
    323: "TileLength",
    324: "TileOffsets",
    325: "TileByteCounts",
    330: "SubIFDs",
    338: "ExtraSamples",
    339: "SampleFormat",
    347: "JPEGTables",
    530: "YCbCrSubSampling",
}
"""Tags without which pixels cannot be read rightly: damage to one of them refuses the file."""

TILE_LISTS = frozenset({273, 279, 324, 325, 65426, 65432})
MAX_METADATA_BYTES = 2**20
MAX_PROFILE_BYTES = 16 * 2**20
MAX_LIST_BYTES = 64 * 2**20
MAX_ENTRIES = 4096
HIDDEN_TAG = 65000
"""A private tag number; what damaged metadata is renamed to, so that no library interprets it."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a file counts: byte order, width of its offsets, place of its first directory."""

    order: str
    big: bool
    first: int
    ndpi: bool = False


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One tag: its type, number of values and where they lie."""

    kind: int
    count: int
    place: int


@dataclass(frozen=True, kw_only=True)
class Directory:
    """One image directory: its tags, the place of the next one and the bytes to hide from libraries."""

    offset: int
    entries: dict[int, Entry]
    following: int
    patches: dict[int, bytes] = field(default_factory=dict)

    def has(self, tag: int) -> bool:
        """Whether the directory holds the tag."""
        return tag in self.entries

    def numbers(self, file: SharedFile, layout: Layout, tag: int) -> NDArray[np.uint64]:
        """Return the tag's whole numbers; empty where it is missing or holds no whole numbers."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in INTEGER_TYPES:
            return np.empty(0, np.uint64)
        data = file.read_at(entry.place, entry.count * TYPE_BYTES[entry.kind])
        return np.frombuffer(data, np.dtype(layout.order + INTEGER_TYPES[entry.kind])).astype(np.uint64)

    def one(self, file: SharedFile, layout: Layout, tag: int, *, default: int | None = None) -> int | None:
        """Return the tag's only number, or `default`."""
        numbers = self.numbers(file, layout, tag)
        return int(numbers[0]) if len(numbers) else default

    def tiles(self, file: SharedFile, layout: Layout) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return places and sizes in bytes of the tiles, or of the strips."""
        places, sizes = (324, 325) if self.has(324) else (273, 279)
        return self.numbers(file, layout, places), self.numbers(file, layout, sizes)


def parse_layout(file: SharedFile) -> Layout:
    """Read the header.

    Raises
    ------
    SlideError
        If the file is no TIFF; the message says what it is where that can be told.
    """
    head = file.read_at(0, 16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        raise not_a_slide(file)
    magic = struct.unpack(order + "H", head[2:4])[0]
    if magic == 43 and len(head) == 16 and struct.unpack(order + "HH", head[4:8]) == (8, 0):
        return Layout(order=order, big=True, first=struct.unpack(order + "Q", head[8:16])[0])
    if magic != 42:
        raise SlideError(f"{file.path.name!r} begins like a TIFF but its version is {magic}. Copy it again.")
    layout = Layout(order=order, big=False, first=struct.unpack(order + "I", head[4:8])[0])
    if file.path.suffix.lower() == ".ndpi" and order == "<":
        wide = struct.unpack("<Q", file.read_at(4, 8).ljust(8, b"\0"))[0]
        return Layout(order=order, big=False, first=wide if wide < file.size else layout.first, ndpi=True)
    return layout


def looks_like(file: SharedFile) -> str:
    """Return in words what a file seems to be; empty when nothing is recognised."""
    head = file.read_at(0, 512)
    text = head.lstrip()[:64].lower()
    if text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "a web page or XML text (perhaps an error page saved by a download)"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer (fetch the real file with 'git lfs pull')"
    if head.startswith(b"PK\x03\x04"):
        return "a ZIP archive (unpack it first)"
    if head[128:132] == b"DICM":
        return "a DICOM file"
    if head.startswith((b"\x89PNG", b"\xff\xd8")):
        return "a plain PNG or JPEG picture (convert it to a pyramidal TIFF)"
    if not head.strip(b"\0"):
        return "filled with zeros (the copy or download did not finish)"
    return ""


def not_a_slide(file: SharedFile) -> SlideError:
    """Return the error for a file that no reader knows, saying what it is where that can be told."""
    found = looks_like(file)
    if found:
        return SlideError(f"{file.path.name!r} is {found}, not a slide. Choose a slide file.")
    return SlideError(f"{file.path.name!r} is not a slide: it has none of the known formats. Choose a slide file.")


def parse_directory(file: SharedFile, layout: Layout, offset: int) -> tuple[Layout, Directory]:
    """Read one directory.

    Raises
    ------
    SlideError
        If it does not lie within the file, or an essential tag is damaged.
    """
    count_size, entry_size, next_size = (8, 20, 8) if layout.big else (2, 12, 8 if layout.ndpi else 4)
    if offset % 2 and not layout.ndpi and layout.big is False and offset >= file.size:
        raise _damaged(file, f"a directory is said to be at byte {offset}, beyond its end")
    head = file.read_at(offset, count_size) if offset + count_size <= file.size else b""
    if len(head) < count_size:
        raise _damaged(file, f"a directory is said to be at byte {offset} of {file.size}")
    count = int.from_bytes(head, "little" if layout.order == "<" else "big")
    size = count * entry_size + next_size
    if not 0 < count <= MAX_ENTRIES or offset + count_size + count * entry_size > file.size:
        raise _damaged(file, f"the directory at byte {offset} claims {count} tags")
    data = file.read_at(offset + count_size, size + (4 * count if layout.ndpi else 0))
    if len(data) < size:
        data = data.ljust(size, b"\0")  # A file may end with its last directory, the closing zeros left out.
    entries: dict[int, Entry] = {}
    patches: dict[int, bytes] = {}
    for number in range(count):
        start = number * entry_size
        tag, entry = _parse_entry(layout, data, start, offset + count_size + start, count)
        problem = _problem(file, tag, entry)
        if problem and tag in ESSENTIAL:
            raise _damaged(file, f"tag {ESSENTIAL[tag]} ({tag}) {problem}")
        if problem:
            patches[offset + count_size + start] = _hidden(layout)
        elif tag not in entries:
            entries[tag] = entry
    tail = data[count * entry_size : size]
    following = int.from_bytes(tail, "little" if layout.order == "<" else "big")
    return layout, Directory(offset=offset, entries=entries, following=following, patches=patches)


def _parse_entry(layout: Layout, data: bytes, start: int, place: int, total: int) -> tuple[int, Entry]:
    if layout.big:
        tag, kind, count = struct.unpack_from(layout.order + "HHQ", data, start)
        inline, width, value_at = 8, "Q", start + 12
    else:
        tag, kind, count = struct.unpack_from(layout.order + "HHI", data, start)
        inline, width, value_at = 4, "I", start + 8
    if TYPE_BYTES.get(kind, 1) * count <= inline:
        return tag, Entry(kind=kind, count=count, place=place + value_at - start)
    value = struct.unpack_from(layout.order + width, data, value_at)[0]
    if layout.ndpi:  # The upper halves of all offsets follow the directory.
        high = total * 12 + 8 + start // 12 * 4
        if high + 4 <= len(data):
            value |= struct.unpack_from("<I", data, high)[0] << 32
    return tag, Entry(kind=kind, count=count, place=value)


def _problem(file: SharedFile, tag: int, entry: Entry) -> str:
    size = TYPE_BYTES.get(entry.kind)
    if size is None:
        return f"has the unknown type {entry.kind}"
    if entry.count == 0:
        return "holds no value"
    if tag in ESSENTIAL and tag != 347 and entry.kind not in INTEGER_TYPES:
        return f"holds no whole numbers but type {entry.kind}"
    total = size * entry.count
    if entry.place + total > file.size:
        return f"claims {total} bytes at byte {entry.place}, outside the file"
    limit = MAX_LIST_BYTES if tag in TILE_LISTS else MAX_PROFILE_BYTES if tag == 34675 else MAX_METADATA_BYTES
    if total > limit:
        return f"claims {total} bytes, more than {limit}"
    return ""


def _hidden(layout: Layout) -> bytes:
    if layout.big:
        return struct.pack(layout.order + "HHQQ", HIDDEN_TAG, 1, 1, 0)
    return struct.pack(layout.order + "HHII", HIDDEN_TAG, 1, 1, 0)


def _damaged(file: SharedFile, finding: str) -> SlideError:
    return SlideError(f"{file.path.name!r} is damaged: {finding}. Copy or download the slide again.")
