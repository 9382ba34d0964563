"""What the session tells its user, in whole sentences: what was expected, what was found, what to do."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_mtlpath.slides.slide import Slide
    from napari_mtlpath.zoo.any_model import AnyModel
    from napari_mtlpath.zoo.card import ModelCard
    from napari_mtlpath.zoo.pixel_card import PixelCard

ENLARGEMENT_WORTH_A_WARNING = 1.5
"""A slide this many times coarser than the model's tiles gives the model blurred input; the decision is ours."""


class Level(StrEnum):
    """How much a message matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Message:
    """One thing that the session has to say.

    Attributes
    ----------
    level
        How much it matters.
    text
        One or more plain sentences; never markup.
    """

    level: Level
    text: str


def resolution_needed(slide: "Slide") -> Message:
    """Say that nothing can be analysed before the slide's scale is known, and where to type it."""
    reason = f" {slide.resolution.detail}" if slide.resolution.detail else ""
    return Message(
        level=Level.WARNING,
        text=f"The analysis waits: it is unknown how large a pixel of this slide is.{reason} "
        "Type its microns per pixel in the Slide section (0.25 for most 40x scans, 0.5 for 20x).",
    )


def too_coarse(slide: "Slide", model: "AnyModel") -> Message | None:
    """Say that the slide is coarser than what the model was trained on, or return None where it is not.

    Parameters
    ----------
    slide
        A slide of known resolution.
    model
        The model that would read it.
    """
    expected, found = model.card.tile.mpp, slide.resolution.mean
    if found <= ENLARGEMENT_WORTH_A_WARNING * expected:
        return None
    return Message(
        level=Level.WARNING,
        text=f"This model reads tiles at {expected:.3g} um per pixel; this slide has {found:.3g} at best. "
        "Its tiles are enlarged and blurred, so do not trust the numbers.",
    )


def standing_notice(slide: "Slide | None", model: "AnyModel | None") -> Message | None:
    """Return what holds or weakens the analysis for as long as this slide and this model are together, or None."""
    if slide is None:
        return None
    if not slide.resolution.known:
        return resolution_needed(slide)
    return too_coarse(slide, model) if model is not None else None


def made_for(card: "ModelCard | PixelCard") -> str:
    """Return what the model was made for, as a sentence, or an empty text where its card does not say."""
    domain = card.made_for.strip().rstrip(".")
    if domain[1:2].islower():  # "Blood smears", but not "H&E sections": part of a sentence now.
        domain = domain[0].lower() + domain[1:]
    return f"This model was made for {domain}." if domain else ""
