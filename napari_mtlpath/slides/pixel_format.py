"""Which kinds of TIFF pixels become 8-bit RGB, how, and which are refused."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.slides.source import SlideError

JPEG = 7
JPEG_2000 = frozenset({33003, 33004, 33005, 34712})
OTHERS = {
    1: "none",
    5: "LZW",
    8: "Deflate",
    32773: "PackBits",
    32946: "Deflate",
    50000: "Zstandard",
    50001: "WebP",
    34926: "Zstandard",
    34927: "WebP",
}
"""Compressions that tifffile decodes through imagecodecs; their codes in the tag Compression."""

MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, SEPARATED, YCBCR = 0, 1, 2, 3, 5, 6

ASSOCIATED, UNASSOCIATED = 1, 2
"""Kinds of alpha in the tag ExtraSamples."""

Convert = Callable[[NDArray[Any]], NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class PixelFormat:
    """How one page's pixels become RGB.

    Attributes
    ----------
    convert
        Takes decoded pixels [y, x, sample] and returns [y, x, 3] of uint8.
    note
        A sentence for the user when the conversion loses or invents something, else empty.
    jpeg
        Whether tiles are JPEG streams.
    """

    convert: Convert
    note: str
    jpeg: bool


def pixel_format(page: Any, name: str) -> PixelFormat:  # noqa: ANN401  # tifffile is untyped
    """Decide how a page of tifffile becomes RGB.

    Raises
    ------
    SlideError
        If showing it would need a guess: float, complex, 1-bit, CMYK, more than four channels, 16-bit grey.
    """
    compression, photometric = int(page.compression), int(page.photometric)
    if compression != JPEG and compression not in JPEG_2000 and compression not in OTHERS:
        raise _refused(name, f"compression {compression}")
    samples, dtype = int(page.samplesperpixel), page.dtype
    if dtype not in (np.dtype("u1"), np.dtype("u2")) or page.bitspersample not in (8, 16):
        raise _refused(name, f"pixels of type {dtype} with {page.bitspersample} bits")
    wide = dtype == np.dtype("u2")
    jpeg = compression == JPEG
    if photometric in (RGB, YCBCR) and samples in (3, 4):
        if photometric == YCBCR and not jpeg and compression not in JPEG_2000 | {50001, 34927}:
            raise _refused(name, "uncompressed YCbCr pixels")
        if jpeg and (samples == 4 or wide):
            raise _refused(name, f"JPEG with {samples} samples of {page.bitspersample} bits")
        alpha = (tuple(page.extrasamples) or (0,))[0] if samples == 4 else None
        notes = ["16-bit colours were reduced to 8 bits."] * wide
        if alpha is not None:
            notes.append("Transparent pixels are shown on white." if alpha else "The fourth channel was ignored.")
        blend = {ASSOCIATED: _associated_alpha, UNASSOCIATED: _unassociated_alpha}.get(alpha or 0, _rgb)
        convert = (lambda pixels: blend((pixels >> 8).astype(np.uint8))) if wide else blend
        return PixelFormat(convert=convert, note=" ".join(notes), jpeg=jpeg)
    if photometric in (MIN_IS_BLACK, MIN_IS_WHITE) and samples == 1 and not wide:
        note = "The slide is grey; its one channel is shown as red, green and blue."
        if photometric == MIN_IS_WHITE and jpeg:
            raise _refused(name, "JPEG whose zero means white")
        return PixelFormat(convert=_inverted if photometric == MIN_IS_WHITE else _grey, note=note, jpeg=jpeg)
    if photometric == PALETTE and samples == 1 and not wide and page.colormap is not None and not jpeg:
        table = (np.asarray(page.colormap, np.uint16).T >> 8).astype(np.uint8)
        return PixelFormat(
            convert=lambda pixels: table[pixels[..., 0]], note="Palette colours were looked up.", jpeg=False
        )
    kind = {SEPARATED: "CMYK", PALETTE: "a palette", 8: "CIE Lab"}.get(photometric, f"photometric {photometric}")
    raise _refused(name, f"{samples} channel(s) of {page.bitspersample} bits, {kind}")


def _rgb(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    return pixels[..., :3]


def _associated_alpha(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Colours that were multiplied by their opacity, on white."""
    return (pixels[..., :3] + np.minimum(255 - pixels[..., 3:], 255 - pixels[..., :3])).astype(np.uint8)


def _unassociated_alpha(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    opacity = pixels[..., 3:].astype(np.uint16)
    return ((pixels[..., :3] * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def _grey(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    return np.repeat(pixels[..., :1], 3, axis=2)


def _inverted(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    return 255 - _grey(pixels)


def _refused(name: str, found: str) -> SlideError:
    return SlideError(f"{name!r} holds {found}; 8-bit RGB or grey and 16-bit RGB can be shown. Convert it to RGB.")
