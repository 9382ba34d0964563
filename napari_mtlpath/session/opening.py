"""Opening the file that a session was asked for, with the resolution that is believed most."""

from pathlib import Path
from typing import TYPE_CHECKING

from napari_mtlpath.session.holdings import Holdings
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.resolution import ResolutionSource, check_mpp

if TYPE_CHECKING:
    from napari_mtlpath.slides.slide import Slide


def open_file(
    path: Path,
    holdings: Holdings,
    *,
    mpp: float | tuple[float, float] | None = None,
    assumed_mpp: float | None = None,
) -> "Slide":
    """Open a slide file with a session's cache and memory.

    Parameters
    ----------
    path
        The file.
    holdings
        The session's cache and memory.
    mpp
        Microns per pixel that the user states; goes before everything else.
    assumed_mpp
        Microns per pixel to assume, and to call assumed, where neither file nor memory knows any.
    """
    slide = open_slide(path, cache=holdings.cache, mpp=mpp, memory=holdings.memory)
    if assumed_mpp is not None and not slide.resolution.known:
        claim = (float(assumed_mpp), float(assumed_mpp))
        slide.with_resolution(check_mpp(claim, "an ordinary scan", source=ResolutionSource.ASSUMED))
    return slide
