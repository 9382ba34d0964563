"""Opening a slide file with the reader that understands it."""

import functools
import importlib.util
import logging
from pathlib import Path

from napari_mtlpath.plugins import PluginFolder
from napari_mtlpath.slides.cache import TileCache
from napari_mtlpath.slides.colour import ColourMode
from napari_mtlpath.slides.fingerprint import fingerprint_of
from napari_mtlpath.slides.foreign_errors import brief
from napari_mtlpath.slides.resolution import Resolution, ResolutionMemory, ResolutionSource, check_mpp
from napari_mtlpath.slides.shared_file import SharedFile
from napari_mtlpath.slides.slide import Slide
from napari_mtlpath.slides.source import Reader, SlideError, SlideSource, SourceFacts
from napari_mtlpath.slides.structure_tags import looks_like, not_a_slide
from napari_mtlpath.slides.watch import FileWatch

logger = logging.getLogger(__name__)

READERS: PluginFolder[Reader] = PluginFolder(
    "napari_mtlpath.slides.readers",
    contract=Reader,  # type: ignore[type-abstract]  # the contract itself is never constructed
    noun="reader",
)

NEEDS_OPENSLIDE = {
    ".dcm": "DICOM",
    ".mrxs": "3DHISTECH MRXS",
    ".vms": "Hamamatsu VMS",
    ".vmu": "Hamamatsu VMU",
    ".svslide": "Sakura",
    ".czi": "Zeiss CZI",
}


def open_slide(
    path: Path | str,
    *,
    cache: TileCache | None = None,
    reader: str | None = None,
    mpp: float | tuple[float, float] | None = None,
    memory: ResolutionMemory | None = None,
    colour: ColourMode = ColourMode.NATIVE,
) -> Slide:
    """Open a slide.

    Parameters
    ----------
    path
        The file.
    cache
        Where decoded tiles are kept; a cache of its own when None.
    reader
        Name of the reader to use; None tries those that offer to open the file, best first.
    mpp
        Microns per level-0 pixel, one number or (y, x), when the user knows better than the file.
    memory
        Where resolutions typed earlier are remembered; they go before what the file says.
    colour
        Whether the slide's ICC profile is applied.

    Returns
    -------
    The open slide. Its resolution may be unknown.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    SlideError
        With one sentence, for everything else.
    """
    path = Path(path)
    file = SharedFile(path)
    try:
        identity, watch = fingerprint_of(file), FileWatch.begin(file)
        source = _open_source(path, file, reader)
    except OSError as error:
        raise SlideError(f"{path.name!r} cannot be read: {brief(error)}. Check the storage it lies on.") from error
    finally:
        file.close()
    try:
        resolution = _resolution(source.facts, identity, mpp, memory)
    except SlideError:
        source.close()
        raise
    return Slide(
        path,
        source,
        fingerprint=identity,
        resolution=resolution,
        cache=cache if cache is not None else TileCache(),
        colour=colour,
        watch=watch,
    )


def _open_source(path: Path, file: SharedFile, reader: str | None) -> SlideSource:
    if reader is not None:
        try:
            return READERS.load(reader).open(path)
        except (ValueError, TypeError, ImportError) as error:
            raise error if isinstance(error, SlideError) else SlideError(str(error)) from error
    refusals: list[SlideError] = []
    for candidate in _readers():
        if not candidate.can_open(path):
            continue
        try:
            return candidate.open(path)
        except SlideError as error:
            logger.info("%s does not open %s: %s", candidate.__name__, path.name, error)
            refusals.append(error)
    if refusals:
        raise refusals[0]
    raise _no_reader(path, file)


def load_readers() -> None:
    """Import all readers and what they need: a quarter of a second that need not wait until a slide is opened."""
    _readers()


@functools.cache  # Looking through all installed distributions for readers costs more than opening a slide.
def _readers() -> tuple[type[Reader], ...]:
    """Return all readers, those to try first in front."""
    return tuple(sorted(map(READERS.load, READERS.names()), key=lambda reader: -reader.priority))


def _no_reader(path: Path, file: SharedFile) -> SlideError:
    kind = NEEDS_OPENSLIDE.get(path.suffix.lower())
    found = looks_like(file)
    if kind is None and found == "a DICOM file":
        kind = "DICOM"
    if kind is not None and importlib.util.find_spec("openslide") is not None:
        return SlideError(
            f"{path.name!r} is a {kind} file, but OpenSlide does not know it as a whole-slide image. "
            "Choose a file of the slide's own series, beside the others it came with."
        )
    if kind is not None:
        return SlideError(
            f"{path.name!r} is a {kind} file, which needs the OpenSlide reader: "
            "pip install 'napari-mtlpath[openslide]'."
        )
    return not_a_slide(file)


def _resolution(
    facts: SourceFacts, identity: str, mpp: float | tuple[float, float] | None, memory: ResolutionMemory | None
) -> Resolution:
    if mpp is not None:
        claim = (float(mpp), float(mpp)) if isinstance(mpp, int | float) else (float(mpp[0]), float(mpp[1]))
        given = check_mpp(claim, "the mpp given", source=ResolutionSource.USER)
        if not given.known:
            raise SlideError(f"{given.detail} Give a number of microns per pixel such as 0.5.")
        return given
    remembered = memory.recall(identity) if memory is not None else None
    return remembered or check_mpp(facts.mpp, facts.mpp_origin)
