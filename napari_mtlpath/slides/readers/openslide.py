"""What only the OpenSlide library reads (MRXS, DICOM, VMS, overlapping tiles); part of the extra ``[openslide]``."""

import importlib.util
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.slides.foreign_errors import FOREIGN_ERRORS, brief
from napari_mtlpath.slides.levels import consistent, downsample_of
from napari_mtlpath.slides.resample import resize, shrink
from napari_mtlpath.slides.resolution import parse_mpp
from napari_mtlpath.slides.source import Reader, SlideError, SlideSource, SourceFacts, StoredLevel, TileUnreadable
from napari_mtlpath.slides.structure import check_structure

TILE_PX = 512
"""OpenSlide does not tell all formats' own tiles; it is asked for squares of this side."""

MAX_LEVELS = 64
MAX_ASSOCIATED_SIDE = 4096
TECHNICAL = ("openslide.objective-power", "openslide.vendor", "openslide.background-color", "openslide.icc-size")
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class OpenslideReader(Reader):
    """Opens what the OpenSlide library opens, where that library is installed."""

    suffixes = (".mrxs", ".dcm", ".vms", ".vmu", ".svslide", ".czi", ".svs", ".tif", ".tiff", ".ndpi", ".scn", ".bif")
    priority = 0

    @classmethod
    def can_open(cls, path: Path) -> bool:
        """Whether the library is installed and recognises the file."""
        if importlib.util.find_spec("openslide") is None:
            return False
        try:
            # Plain TIFFs are left to the base reader, which refuses colours that it would have to guess.
            return _library().OpenSlide.detect_format(path) not in (None, "generic-tiff")
        except FOREIGN_ERRORS:  # the Python part without its C library, or a file that it chokes on
            return False

    @classmethod
    def open(cls, path: Path) -> SlideSource:
        """Open the file; TIFFs only after the structure check."""
        try:
            library = _library()
        except FOREIGN_ERRORS as error:
            raise SlideError("The OpenSlide reader is missing: pip install 'napari-mtlpath[openslide]'.") from error
        with path.open("rb") as file:
            is_tiff = file.read(4) in TIFF_STARTS
        if is_tiff:
            check_structure(path)
        try:
            return _OpenslideSource(library, path)
        except SlideError:
            raise
        except (*FOREIGN_ERRORS, library.OpenSlideError) as error:
            raise SlideError(f"{path.name!r} cannot be opened by OpenSlide: {brief(error)}. Copy it again.") from error


def _library() -> Any:  # noqa: ANN401  # an untyped module
    import openslide  # slow to load, and optional

    return openslide


class _OpenslideSource(SlideSource):
    """A handle of the OpenSlide library, reopened after errors because they stick to it."""

    def __init__(self, library: Any, path: Path) -> None:  # noqa: ANN401  # an untyped module
        self._library = library
        self._path = path
        self._lock = threading.Lock()
        self._errors = (*FOREIGN_ERRORS, library.OpenSlideError)
        self._handle: Any = library.OpenSlide(path)
        properties = dict(self._handle.properties)
        background = _colour(properties.get("openslide.background-color"))
        levels, self._indices, dropped = _levels(self._handle)
        y, x = (parse_mpp(properties.get(f"openslide.mpp-{axis}")) for axis in "yx")
        self.facts = SourceFacts(
            format=properties.get("openslide.vendor", "openslide"),
            levels=levels,
            mpp=None if y is None or x is None else (y, x),
            mpp_origin="the file does not say how large its pixels are" if y is None else "the scanner's metadata",
            properties={key: properties[key] for key in TECHNICAL if key in properties},
            associated=_associated_sizes(properties),
            icc_profile=_profile(self._handle),
            background=background,
            warnings=tuple(dropped),
        )

    def read_tile(self, level: int, row: int, column: int, *, denominator: int = 1) -> NDArray[np.uint8]:
        """Read one square of 512 px."""
        stored = self.facts.levels[level]
        y, x = row * TILE_PX, column * TILE_PX
        height, width = min(TILE_PX, stored.height - y), min(TILE_PX, stored.width - x)
        if min(height, width, y + 1, x + 1) <= 0:
            raise TileUnreadable(f"there is no tile {row}, {column}")
        handle = self._open_handle()
        corner = round(x * stored.downsample[1]), round(y * stored.downsample[0])
        try:
            image = handle.read_region(corner, self._indices[level], (width, height))
        except self._errors as error:
            self._reopen(handle)
            raise TileUnreadable(brief(error)) from error
        return shrink(self._opaque(image), denominator)

    def read_associated(self, name: str) -> NDArray[np.uint8]:
        """Decode an associated image."""
        if name not in self.facts.associated:
            known = ", ".join(self.facts.associated) or "none"
            raise KeyError(f"There is no associated image {name!r}; there are: {known}.")
        handle = self._open_handle()
        try:
            pixels = self._opaque(handle.associated_images[name])
        except self._errors as error:
            self._reopen(handle)
            raise TileUnreadable(f"the {name} image cannot be read: {brief(error)}") from error
        high, wide = pixels.shape[:2]
        shrinking = max(high, wide) / MAX_ASSOCIATED_SIDE
        if shrinking <= 1:
            return pixels
        size = max(1, int(high / shrinking)), max(1, int(wide / shrinking))
        return resize(pixels, box=(0.0, 0.0, float(high), float(wide)), height=size[0], width=size[1])

    def close(self) -> None:
        """Let the handle go; the library closes it with its last user. Closing twice is harmless."""
        with self._lock:
            self._handle = None

    def _open_handle(self) -> Any:  # noqa: ANN401  # an untyped handle
        handle = self._handle
        if handle is None:
            raise TileUnreadable(f"{self._path.name!r} is closed")
        return handle

    def _opaque(self, image: Any) -> NDArray[np.uint8]:  # noqa: ANN401  # a Pillow image
        pixels = np.array(image.convert("RGBA"))
        alpha = pixels[..., 3:]
        if alpha.min(initial=255) == 255:
            return np.ascontiguousarray(pixels[..., :3])
        share = alpha.astype(np.float32) / 255
        ground = np.array(self.facts.background, np.float32)
        return np.rint(pixels[..., :3] * share + ground * (1 - share)).astype(np.uint8)

    def _reopen(self, failed: Any) -> None:  # noqa: ANN401  # an untyped handle
        """Replace a handle that an error has made useless, once, whichever thread comes first."""
        with self._lock:
            if self._handle is failed:
                try:
                    # The old handle is not closed: another thread may be inside it. It goes with its last user.
                    self._handle = self._library.OpenSlide(self._path)
                except self._errors:
                    return


def _levels(handle: Any) -> tuple[tuple[StoredLevel, ...], list[int], list[str]]:  # noqa: ANN401  # an untyped handle
    sizes = [(int(height), int(width)) for width, height in handle.level_dimensions[:MAX_LEVELS]]
    levels = [
        StoredLevel(
            height=height,
            width=width,
            tile_height=TILE_PX,
            tile_width=TILE_PX,
            downsample=downsample_of(height, width, base=sizes[0]),
        )
        for height, width in sizes
    ]
    kept, dropped = consistent(levels)
    return tuple(levels[index] for index in kept), kept, dropped


def _associated_sizes(properties: dict[str, str]) -> dict[str, tuple[int, int]]:
    ending = ".width"
    names = [key[len("openslide.associated.") : -len(ending)] for key in properties if key.endswith(ending)]
    sizes = {}
    for name in names:
        place = f"openslide.associated.{name}"
        if f"{place}.height" in properties and f"{place}.width" in properties:
            sizes[name] = int(properties[f"{place}.height"]), int(properties[f"{place}.width"])
    return sizes


def _profile(handle: Any) -> bytes | None:  # noqa: ANN401  # an untyped handle
    try:
        profile = handle.color_profile
        return bytes(profile.tobytes()) if profile is not None else None
    except FOREIGN_ERRORS:
        return None


def _colour(text: str | None) -> tuple[int, int, int]:
    try:
        red, green, blue = bytes.fromhex(text or "ffffff")
    except ValueError:
        return 255, 255, 255
    return red, green, blue
