"""How many microns one level-0 pixel covers, where that number came from, and when it is not believed."""

import json
import logging
import math
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from napari_mtlpath.files import replacing
from napari_mtlpath.folders import data_folder
from napari_mtlpath.units import MicronsPerPixel

logger = logging.getLogger(__name__)

SMALLEST_MPP = 0.05
LARGEST_MPP = 20.0
LARGEST_ASPECT = 1.25
"""A pixel may be this much longer than wide before the two numbers are taken to contradict each other."""

USUAL_MPP = (0.1, 2.5)
"""Whole-slide scanners work within this range (100x oil to 4x); what lies outside is asked about."""


class ResolutionSource(StrEnum):
    """Where a resolution came from."""

    FILE = "file"
    USER = "user"
    REMEMBERED = "remembered"
    ASSUMED = "assumed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """Microns per level-0 pixel and its origin.

    Attributes
    ----------
    mpp
        Microns per pixel as (y, x), within 0.05 to 20; None when unknown.
    source
        Where it came from.
    detail
        One sentence: the origin in words, or why a claim was refused.
    plausible
        False where the value is possible but outside what slide scanners make, so that the user should confirm it.
    """

    mpp: tuple[float, float] | None
    source: ResolutionSource
    detail: str
    plausible: bool = True

    def __post_init__(self) -> None:
        if (self.mpp is None) != (self.source is ResolutionSource.UNKNOWN):
            raise ValueError(f"A resolution is unknown exactly when it has no mpp; found {self.mpp}, {self.source}.")

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return self.mpp is not None

    @property
    def mean(self) -> MicronsPerPixel:
        """Mean of the two axes.

        Raises
        ------
        ValueError
            If the resolution is unknown.
        """
        if self.mpp is None:
            raise ValueError(
                f"Expected a slide with known microns per pixel; found none ({self.detail}) "
                "Pass mpp=... or set it in the Slide section."
            )
        return MicronsPerPixel((self.mpp[0] + self.mpp[1]) / 2)


def check_mpp(
    claim: tuple[float, float] | None, origin: str, *, source: ResolutionSource = ResolutionSource.FILE
) -> Resolution:
    """Judge a claim of microns per pixel (y, x).

    Accepted are finite values from 0.05 to 20 whose axes differ by at most a quarter; a value outside 0.1 to 2.5 is
    marked implausible. Everything else is unknown, with the reason in words.

    Examples
    --------
    >>> check_mpp((0.499, 0.499), "MPP in the description").mean
    0.499
    >>> check_mpp((352.8, 352.8), "the resolution tags").detail
    'The resolution tags say 352.8 um/px, outside 0.05 to 20.'
    """
    said = origin[:1].upper() + origin[1:]
    if claim is None:
        return _unknown(said + "." if said else "The file does not say how large its pixels are.")
    y, x = claim
    if not (math.isfinite(y) and math.isfinite(x)):
        return _unknown(f"{said} say{_s(origin)} {y:g} um/px, which is not a number of microns.")
    if not (SMALLEST_MPP <= y <= LARGEST_MPP and SMALLEST_MPP <= x <= LARGEST_MPP):
        shown = f"{y:.4g}" if y == x else f"{y:.4g} x {x:.4g}"
        return _unknown(f"{said} say{_s(origin)} {shown} um/px, outside {SMALLEST_MPP:g} to {LARGEST_MPP:g}.")
    if max(y / x, x / y) > LARGEST_ASPECT:
        return _unknown(f"{said} say{_s(origin)} {y:.4g} um down but {x:.4g} um across a pixel, which contradict.")
    plausible = all(USUAL_MPP[0] <= value <= USUAL_MPP[1] for value in claim)
    detail = f"{said}: {(y + x) / 2:.4g} um/px."
    if not plausible:
        detail += f" Slide scanners make {USUAL_MPP[0]:g} to {USUAL_MPP[1]:g}: please confirm."
    return Resolution(mpp=(float(y), float(x)), source=source, detail=detail, plausible=plausible)


def require_resolution(resolution: Resolution, *, slide: str) -> tuple[float, float]:
    """Return a slide's microns per pixel (y, x) for work that nobody watches.

    Raises
    ------
    ValueError
        If they are unknown, or unusual and said by nobody but the file.
    """
    if resolution.mpp is None:
        detail = resolution.detail.rstrip(".")
        raise ValueError(f"Slide '{slide}' has no believable microns per pixel ({detail}): pass --mpp.")
    said_by_user = resolution.source in (ResolutionSource.USER, ResolutionSource.REMEMBERED)
    if not (resolution.plausible or said_by_user):
        raise ValueError(f"Slide '{slide}': {resolution.detail} Pass --mpp to confirm or correct it.")
    return resolution.mpp


def parse_mpp(text: object) -> float | None:
    """Return a number written in metadata, with a decimal point or comma; None when it is no number.

    Examples
    --------
    >>> parse_mpp("0,499"), parse_mpp(" 0.25 "), parse_mpp("abc"), parse_mpp(None)
    (0.499, 0.25, None, None)
    """
    if text is None or isinstance(text, bool):
        return None
    try:
        return float(str(text).strip().replace(",", "."))
    except ValueError:
        return None


def _unknown(reason: str) -> Resolution:
    return Resolution(mpp=None, source=ResolutionSource.UNKNOWN, detail=reason)


def _s(origin: str) -> str:
    # "The resolution tags say", but "MPP in the description says".
    return "" if origin.rstrip().endswith("s") else "s"


class ResolutionMemory:
    """Remembers what users typed for slides without a believable resolution.

    Parameters
    ----------
    path
        JSON file; None means ``resolutions.json`` in the user's data folder.

    Examples
    --------
    >>> import tempfile
    >>> memory = ResolutionMemory(Path(tempfile.mkdtemp()) / "resolutions.json")
    >>> memory.remember("ab12", (0.5, 0.5), author="maria")
    >>> memory.recall("ab12").mpp, memory.recall("ff00")
    ((0.5, 0.5), None)
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path if path is not None else data_folder() / "resolutions.json"
        self._lock = threading.Lock()

    def remember(self, fingerprint: str, mpp: tuple[float, float], author: str) -> None:
        """Keep `mpp` (y, x) for the slide, with who said so and when.

        Raises
        ------
        ValueError
            If `mpp` is not within 0.05 to 20.
        """
        checked = check_mpp(mpp, "your entry")
        if checked.mpp is None:
            raise ValueError(checked.detail)
        with self._lock:
            entries = self._read()
            said = datetime.now(UTC).isoformat(timespec="seconds")
            entries[fingerprint] = {"mpp": list(checked.mpp), "author": author, "said": said}
            with replacing(self.path) as temporary:
                temporary.write_text(json.dumps(entries, indent=1), encoding="utf-8")

    def recall(self, fingerprint: str) -> Resolution | None:
        """Return what was remembered for the slide, or None."""
        with self._lock:
            entry: Any = self._read().get(fingerprint)
        try:
            y, x = (float(value) for value in entry["mpp"])
            origin = f"entered by {entry['author']} on {str(entry['said'])[:10]}"
        except (TypeError, KeyError, ValueError):
            return None
        checked = check_mpp((y, x), origin, source=ResolutionSource.REMEMBERED)
        return checked if checked.known else None

    def _read(self) -> dict[str, dict[str, object]]:
        try:
            entries = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            logger.warning("The remembered resolutions in %s cannot be read: %s", self.path, error)
            return {}
        return entries if isinstance(entries, dict) else {}
