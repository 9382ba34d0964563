"""The slide that another one took the place of, and the way back to it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mtlpath.session.messages import Level, Message
from napari_mtlpath.slides.resolution import ResolutionSource

if TYPE_CHECKING:
    from napari_mtlpath.session.session import Session
    from napari_mtlpath.slides.slide import Slide


@dataclass(frozen=True, kw_only=True)
class FormerSlide:
    """What is needed to open a slide again as it was.

    Attributes
    ----------
    path
        The file.
    mpp
        Microns per pixel (y, x) that the user had typed, or None.
    assumed_mpp
        Microns per pixel that were assumed, or None.
    """

    path: Path
    mpp: tuple[float, float] | None = None
    assumed_mpp: float | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def farewell(self) -> Message:
        """Say that it made room, and how to return to it."""
        return Message(
            level=Level.INFO,
            text=f"A window shows one slide at a time: '{self.name}' was closed. "
            f"'Back to {self.name}' in the Slide section opens it again; what was analysed is kept.",
        )


def left_behind(old: "Slide | None", new: "Slide | None") -> FormerSlide | None:
    """Return the slide that another one takes the place of, or None where none does."""
    if old is None or new is None or old.fingerprint == new.fingerprint:
        return None
    resolution = old.resolution
    typed = resolution.mpp if resolution.source is ResolutionSource.USER else None
    assumed = resolution.mean if resolution.source is ResolutionSource.ASSUMED else None
    return FormerSlide(path=old.path, mpp=typed, assumed_mpp=assumed)


def go_back(session: "Session") -> "Slide | None":
    """Open the slide that was open before the present one. Blocks: call it from a worker.

    Raises
    ------
    SlideError, FileNotFoundError
        If its file cannot be opened any more; the present slide stays.
    """
    former = session.former
    if former is None:
        return None
    return session.open_slide(former.path, former.mpp, assumed_mpp=former.assumed_mpp)
