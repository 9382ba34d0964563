"""Whole-slide TIFF families (Aperio, Hamamatsu NDPI, Leica, Philips, generic, OME) through tiffslide's geometry."""

import io
import math
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import tiffslide
from numpy.typing import NDArray

from napari_mtlpath.slides.foreign_errors import FOREIGN_ERRORS, brief
from napari_mtlpath.slides.levels import consistent, downsample_of
from napari_mtlpath.slides.resample import resize
from napari_mtlpath.slides.shared_file import PatchedStream, SharedFile
from napari_mtlpath.slides.source import Reader, SlideError, SlideSource, SourceFacts, TileUnreadable
from napari_mtlpath.slides.structure import StructureReport, check_open_file
from napari_mtlpath.slides.tiff_metadata import mpp_claim, technical, tiffslide_properties, vendor_of
from napari_mtlpath.slides.tiff_page import TiffPage

MAX_ASSOCIATED_SIDE = 4096
MAX_ASSOCIATED_PIXELS = 64 * 2**20
WHITE = (255, 255, 255)


class TiffslideReader(Reader):
    """Opens what tiffslide understands; pixels are then read from the native tiles directly."""

    suffixes = (".svs", ".tif", ".tiff", ".ndpi", ".scn", ".bif")
    priority = 10

    @classmethod
    def can_open(cls, path: Path) -> bool:
        """Whether the file begins like a TIFF."""
        try:
            with path.open("rb") as file:
                return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
        except OSError:
            return False

    @classmethod
    def open(cls, path: Path) -> SlideSource:
        """Check the structure, then let tiffslide find the levels."""
        file = SharedFile(path)
        try:
            return _TiffSource(file, check_open_file(file))
        except SlideError:
            file.close()
            raise
        except FOREIGN_ERRORS as error:
            file.close()
            raise SlideError(
                f"{path.name!r} cannot be opened as a slide: {brief(error)}. Copy it again, or try another viewer."
            ) from error


class _TiffSource(SlideSource):
    """The pages of one TIFF that form the slide's levels."""

    def __init__(self, file: SharedFile, report: StructureReport) -> None:
        self._file = file
        name = file.path.name
        stream = io.BufferedReader(PatchedStream(file, report.patches), 2**16)
        slide = tiffslide.TiffSlide(stream, tifffile_options={"name": name, "is_ndpi": report.ndpi})
        tiff = slide.ts_tifffile
        vendor = vendor_of(tiff)
        properties = tiffslide_properties(slide)
        series = _main_series(tiff, vendor, properties, name)
        sparse = WHITE if vendor == "philips" else None
        pages = [
            TiffPage(file, page, name, sparse=sparse, places=report.places.get(int(page.offset)))
            for page in (level.keyframe for level in series.levels)
        ]
        base = pages[0].height, pages[0].width
        levels = [page.level(_downsample(page, base, vendor)) for page in pages]
        kept, dropped = consistent(levels)
        self._pages = [pages[index] for index in kept]
        self._associated = _associated(tiff, series)
        self._lock = threading.Lock()
        claim = mpp_claim(vendor, properties, tiff)
        notes = dict.fromkeys(page.note for page in self._pages if page.note)
        if tiff.pages[0].tags.valueof(274, default=1) not in (0, 1):
            notes["The file asks to be shown turned or mirrored; it is shown as it is stored."] = None
        profile = tiff.pages[0].tags.valueof(34675)
        self.facts = SourceFacts(
            format=vendor,
            levels=tuple(levels[index] for index in kept),
            mpp=claim.mpp,
            mpp_origin=claim.origin,
            properties=technical(properties),
            associated={key: (page.imagelength, page.imagewidth) for key, page in self._associated.items()},
            icc_profile=profile if isinstance(profile, bytes) else None,
            background=WHITE,
            warnings=(*report.warnings, *dropped, *notes),
        )

    def read_tile(self, level: int, row: int, column: int, *, denominator: int = 1) -> NDArray[np.uint8]:
        """Decode one native tile."""
        return self._read(level, row, column, denominator, passing=False)

    def read_passing(self, level: int, row: int, column: int, *, denominator: int = 1) -> NDArray[np.uint8]:
        """Decode one native tile into memory that this thread's next tile takes again."""
        return self._read(level, row, column, denominator, passing=True)

    def _read(self, level: int, row: int, column: int, denominator: int, *, passing: bool) -> NDArray[np.uint8]:
        try:
            return self._pages[level].read(row, column, denominator, passing=passing)
        except TileUnreadable:
            raise
        except FOREIGN_ERRORS as error:
            raise TileUnreadable(brief(error)) from error

    def read_block(self, level: int, rows: range, columns: range, *, denominator: int) -> NDArray[np.uint8] | None:
        """Decode neighbouring JPEG tiles in one call."""
        try:
            return self._pages[level].read_block(rows, columns, denominator)
        except FOREIGN_ERRORS:  # an unreadable tile among them
            return None

    def read_associated(self, name: str) -> NDArray[np.uint8]:
        """Decode an associated image."""
        if name not in self._associated:
            raise KeyError(
                f"There is no associated image {name!r}; there are: {', '.join(self._associated) or 'none'}."
            )
        try:
            with self._lock:
                return _whole(TiffPage(self._file, self._associated[name], name))
        except FOREIGN_ERRORS as error:
            raise TileUnreadable(f"the {name} image cannot be read: {brief(error)}") from error

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


def _main_series(tiff: Any, vendor: str, properties: Any, name: str) -> Any:  # noqa: ANN401  # tifffile is untyped
    """Return the series of pages that is the slide, or refuse what would come out wrong."""
    composition = properties.get("tiffslide.series-composition")
    if composition is not None and len(composition.located_series) > 1:
        raise SlideError(
            f"{name!r} holds {len(composition.located_series)} scanned regions, which this reader cannot place. "
            "Install the reader that can: pip install 'napari-mtlpath[openslide]'."
        )
    if vendor == "ventana" and re.search(rb'Overlap[XY]="[1-9]', bytes(tiff.pages[0].tags.valueof(700) or b"")):
        raise SlideError(
            f"{name!r} is a Ventana slide whose tiles overlap, which this reader cannot place. "
            "Install the reader that can: pip install 'napari-mtlpath[openslide]'."
        )
    series = tiff.series[int(properties.get("tiffslide.series-index") or 0)]
    if series.axes not in ("YXS", "YX", "SYX"):
        shape = " x ".join(str(side) for side in series.shape)
        raise SlideError(
            f"{name!r} is an image with axes {series.axes} ({shape}); a slide is one plane of colour. Save one plane "
            "as RGB, or open it with napari's own reader."
        )
    return series


def _downsample(page: TiffPage, base: tuple[int, int], vendor: str) -> tuple[float, float]:
    exact = downsample_of(page.height, page.width, base=base)
    if vendor != "philips":
        return exact
    # Philips pads every level to whole tiles, so the sizes say less than the powers of two that it scans by.
    return (2.0 ** round(math.log2(exact[0])),) * 2


def _associated(tiff: Any, main: Any) -> dict[str, Any]:  # noqa: ANN401  # tifffile is untyped
    found = {}
    for series in tiff.series:
        if series is main or not series.name or series.axes not in ("YXS", "YX"):
            continue
        page = series.keyframe
        if page.imagelength * page.imagewidth <= MAX_ASSOCIATED_PIXELS:
            found[series.name.lower()] = page
    return found


def _whole(page: TiffPage) -> NDArray[np.uint8]:
    level = page.level((1.0, 1.0))
    rows, columns = -(-level.height // level.tile_height), -(-level.width // level.tile_width)
    pixels = np.concatenate(
        [np.concatenate([page.read(row, column, 1) for column in range(columns)], axis=1) for row in range(rows)]
    )
    shrinking = max(pixels.shape[:2]) / MAX_ASSOCIATED_SIDE
    if shrinking <= 1:
        return np.ascontiguousarray(pixels)
    height, width = (max(1, int(side / shrinking)) for side in pixels.shape[:2])
    return resize(pixels, box=(0.0, 0.0, float(pixels.shape[0]), float(pixels.shape[1])), height=height, width=width)
