"""What a TIFF slide says about itself: vendor, pixel size, technical properties; nothing that identifies a person."""

import re
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_mtlpath.slides.foreign_errors import FOREIGN_ERRORS, brief
from napari_mtlpath.slides.resolution import LARGEST_MPP, SMALLEST_MPP, USUAL_MPP, parse_mpp

TECHNICAL = (
    "aperio.AppMag",
    "aperio.MPP",
    "aperio.DisplayColor",
    "aperio.Gamma",
    "aperio.Exposure Time",
    "aperio.Exposure Scale",
    "hamamatsu.SourceLens",
    "leica.aperture",
    "leica.illumination-source",
    "tiff.ResolutionUnit",
    "tiff.XResolution",
    "tiff.YResolution",
    "tiffslide.objective-power",
)
"""Keys that say nothing about a person, a place or a day; everything else stays in the file."""

CONFLICT = 0.1
"""Relative difference from which two believable statements of the pixel size contradict each other."""

MICRONS = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}

_warnings_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class MppClaim:
    """What the file says about its pixel size, (y, x) in microns or None, and where."""

    mpp: tuple[float, float] | None
    origin: str


def tiffslide_properties(slide: Any) -> Mapping[str, Any]:  # noqa: ANN401  # tiffslide is untyped
    """Return tiffslide's properties; empty where it cannot make sense of the metadata."""
    with _warnings_lock, warnings.catch_warnings():  # "only partially implemented": nothing a user can act on
        warnings.simplefilter("ignore")
        try:
            return slide.properties
        except FOREIGN_ERRORS as error:
            return {"error": brief(error)}


def vendor_of(tiff: Any) -> str:  # noqa: ANN401  # tifffile is untyped
    """Return the short name of the format."""
    flags = {
        "aperio": "is_svs",
        "leica": "is_scn",
        "ventana": "is_bif",
        "hamamatsu": "is_ndpi",
        "philips": "is_philips",
        "ome-tiff": "is_ome",
    }
    return next((vendor for vendor, flag in flags.items() if getattr(tiff, flag, False)), "generic-tiff")


def technical(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return the properties of the allow-list as text."""
    return {key: str(properties[key]) for key in TECHNICAL if properties.get(key) not in (None, "")}


def mpp_claim(vendor: str, properties: Mapping[str, Any], tiff: Any) -> MppClaim:  # noqa: ANN401  # tifffile is untyped
    """Return the file's claim, preferring the format's own field over the resolution tags.

    Two believable statements that differ by more than a tenth cancel each other.
    """
    tags = _tags_claim(tiff)
    match vendor:
        case "aperio":
            own = _aperio_claim(str(properties.get("tiff.ImageDescription") or ""))
        case "ome-tiff":
            own = _ome_claim(str(tiff.pages[0].description or ""))
        case "leica" | "philips":
            own = _xy_claim(properties, "the scanner's metadata")
        case _:
            own = None
    if own is None:
        return tags or MppClaim(mpp=None, origin="the file does not say how large its pixels are")
    if own.mpp and tags and tags.mpp and _believable(own.mpp) and _usual(tags.mpp):
        ratio = own.mpp[1] / tags.mpp[1]
        if not 1 / (1 + CONFLICT) <= ratio <= 1 + CONFLICT:
            words = f"{own.origin} says {own.mpp[1]:.4g} um/px but {tags.origin} say {tags.mpp[1]:.4g}"
            return MppClaim(mpp=None, origin=words)
    return own


def _aperio_claim(description: str) -> MppClaim | None:
    texts = [text.strip() for text in re.findall(r"\|\s*MPP\s*=([^|]*)", description)]
    if not texts:
        return None
    values = [parse_mpp(text) for text in texts]
    if len(set(values)) > 1:
        return MppClaim(mpp=None, origin=f"the description names several pixel sizes ({', '.join(texts[:4])})")
    if values[0] is None:
        return MppClaim(mpp=None, origin=f"the description's MPP reads {texts[0][:40]!r}, which is no number")
    return MppClaim(mpp=(values[0], values[0]), origin="MPP in the description")


def _ome_claim(xml: str) -> MppClaim | None:
    element = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", xml)
    if element is None:
        return None
    sizes = []
    for axis in "YX":
        size = re.search(rf'\bPhysicalSize{axis}="([^"]*)"', element[0])
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]*)"', element[0])
        value = parse_mpp(size[1]) if size else None
        scale = MICRONS.get(unit[1] if unit else "µm")
        if value is None or scale is None:
            return None
        sizes.append(value * scale)
    return MppClaim(mpp=(sizes[0], sizes[1]), origin="PhysicalSize in the OME metadata")


def _xy_claim(properties: Mapping[str, Any], origin: str) -> MppClaim | None:
    y, x = (parse_mpp(properties.get(f"tiffslide.mpp-{axis}")) for axis in "yx")
    return None if y is None or x is None else MppClaim(mpp=(y, x), origin=origin)


def _tags_claim(tiff: Any) -> MppClaim | None:  # noqa: ANN401  # tifffile is untyped
    """Microns per pixel from the tags XResolution, YResolution and ResolutionUnit."""
    tags = tiff.pages[0].tags
    try:
        unit = int(tags["ResolutionUnit"].value)
        microns = {2: 25400.0, 3: 10000.0, 4: 1000.0, 5: 1.0}[unit]
        y, x = (tags[f"{axis}Resolution"].value for axis in "YX")
        return MppClaim(mpp=(microns * y[1] / y[0], microns * x[1] / x[0]), origin="the resolution tags")
    except (KeyError, TypeError, ValueError, IndexError, ArithmeticError):
        return None


def _believable(mpp: tuple[float, float]) -> bool:
    return all(SMALLEST_MPP <= value <= LARGEST_MPP for value in mpp)


def _usual(mpp: tuple[float, float]) -> bool:
    return all(USUAL_MPP[0] <= value <= USUAL_MPP[1] for value in mpp)
