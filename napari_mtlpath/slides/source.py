"""What a reader plugin provides: the stored levels of one slide file, tile by tile."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class SlideError(ValueError):
    """A file cannot be opened as a slide; the message says what was expected, found and what to do."""


class TileUnreadable(OSError):
    """One native tile cannot be read or decoded."""


@dataclass(frozen=True, kw_only=True)
class StoredLevel:
    """One level that the file stores.

    Attributes
    ----------
    height, width
        Size in pixels of this level.
    tile_height, tile_width
        Size in pixels of the native tiles (the last row and column may be cut).
    downsample
        Level-0 pixels per pixel of this level, as (y, x); exact, so it may be fractional.
    """

    height: int
    width: int
    tile_height: int
    tile_width: int
    downsample: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """What a reader found out about a file at opening, before any pixel is decoded.

    Attributes
    ----------
    format
        Short name such as ``"aperio"``.
    levels
        Stored levels, largest first; consistent (shrinking, same aspect) or left out by the reader.
    mpp
        The file's own claim of microns per pixel as (y, x), verbatim and unchecked, or None.
    mpp_origin
        Which tag the claim comes from, in words.
    properties
        Technical metadata, allow-listed by key: never patient identifiers, user names, dates or barcodes.
    associated
        Names and sizes (height, width) of the associated images; none is decoded until asked for.
    icc_profile
        The ICC profile's bytes, or None.
    background
        Colour (r, g, b) of what no tile covers.
    warnings
        Sentences for the user, such as a dropped level or a tile that the structure check knows is missing.
    """

    format: str
    levels: tuple[StoredLevel, ...]
    mpp: tuple[float, float] | None = None
    mpp_origin: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    associated: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    icc_profile: bytes | None = None
    background: tuple[int, int, int] = (255, 255, 255)
    warnings: tuple[str, ...] = ()


class SlideSource(ABC):
    """An open slide file. All methods are thread-safe; a source is never shared across processes."""

    facts: SourceFacts

    @abstractmethod
    def read_tile(self, level: int, row: int, column: int, *, denominator: int = 1) -> NDArray[np.uint8]:
        """Decode one native tile of a stored level.

        Parameters
        ----------
        level, row, column
            Which tile.
        denominator
            1, 2, 4 or 8: decode at a fraction of the size (libjpeg's scaled decoding for JPEG, the area mean
            otherwise).

        Returns
        -------
        Array [y, x, 3] of uint8 RGB. Tiles of the last row and column are cut to the level's edge (before scaling,
        rounded up after it).

        Raises
        ------
        TileUnreadable
            If the tile's bytes are missing, cut or do not decode.
        """

    def read_passing(self, level: int, row: int, column: int, *, denominator: int = 1) -> NDArray[np.uint8]:
        """Decode one native tile that is copied at once and not kept.

        As `read_tile`, but this thread's next call may write over the array: a scan then decodes into memory that
        is already in the processor's cache. Readers that cannot do that give a new array each time.
        """
        return self.read_tile(level, row, column, denominator=denominator)

    def read_block(self, level: int, rows: range, columns: range, *, denominator: int) -> NDArray[np.uint8] | None:
        """Decode neighbouring native tiles together where that is cheaper, to the same bits as one by one.

        Parameters
        ----------
        level, rows, columns
            Which tiles; together no more pixels than one tile at full size.
        denominator
            2, 4 or 8: see `read_tile`.

        Returns
        -------
        Array [y, x, 3] of uint8 RGB, or None: then the tiles are read one by one, which also tells what is wrong.
        """
        return None

    @abstractmethod
    def read_associated(self, name: str) -> NDArray[np.uint8]:
        """Decode an associated image, [y, x, 3] of uint8 RGB, at most 4096 px on its longer side."""

    @abstractmethod
    def close(self) -> None:
        """Release the file. Closing twice is harmless."""


class Reader(ABC):
    """A way of opening slide files. One subclass per module of ``napari_mtlpath.slides.readers``."""

    suffixes: tuple[str, ...] = ()
    """Lower-case file suffixes that this reader offers to open, with the dot."""

    priority: int = 0
    """Readers that can open a file are tried from the highest priority down."""

    @classmethod
    @abstractmethod
    def can_open(cls, path: Path) -> bool:
        """Whether this reader wants to try the file: cheap, no decoding, False when its library is missing."""

    @classmethod
    @abstractmethod
    def open(cls, path: Path) -> SlideSource:
        """Open the file, after the bounded structure check.

        Raises
        ------
        SlideError
            With one sentence, if the file is not a slide that this reader can show correctly.
        """
