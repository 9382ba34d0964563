"""Opens slides in napari: File > Open, drag and drop, ``viewer.open``."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error

from napari_mtlpath.slides.source import SlideError
from napari_mtlpath.viewer.opening import LayerData, layers_of

if TYPE_CHECKING:
    from napari_mtlpath.session.session import Session
    from napari_mtlpath.slides.slide import Slide

logger = logging.getLogger(__name__)

SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".scn", ".bif", ".svslide", ".mrxs", ".vms", ".vmu", ".dcm")
"""What is offered to be opened; the manifest names the same. Some need the extra `openslide`."""

NOTHING: list[LayerData] = [(None,)]
"""What napari takes as 'read, but nothing to add'."""


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Return what reads this file, or None where it is not a slide by its name.

    Parameters
    ----------
    path
        A file, or several: each becomes the viewer's slide in turn, since a viewer shows one.
    """
    paths = _paths(path)
    if not paths or not all(one.suffix.lower() in SUFFIXES and not one.is_dir() for one in paths):
        return None
    return read_slides


def read_slides(path: str | Sequence[str]) -> list[LayerData]:
    """Open slides and return their layers. What cannot be opened is told in one sentence, without a traceback."""
    layers = []
    for one in _paths(path):
        try:
            layers += _read(one)
        except (SlideError, OSError) as error:
            logger.info("%s was not opened: %s", one.name, error)
            show_error(str(error))
    return layers or NOTHING


def _paths(path: str | Sequence[str]) -> list[Path]:
    return [Path(path)] if isinstance(path, str) else [Path(one) for one in path]


def _read(path: Path) -> list[LayerData]:
    def open_it(session: "Session | None") -> "Slide":
        from napari_mtlpath.slides.open import open_slide
        from napari_mtlpath.slides.resolution import ResolutionMemory

        return open_slide(path, cache=session.cache if session is not None else None, memory=ResolutionMemory())

    return layers_of(open_it, what=path.name)
