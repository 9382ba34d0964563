"""A resolution that a user types: checked, and signed with who typed it."""

import getpass
from dataclasses import replace

from napari_mtlpath.slides.resolution import (
    LARGEST_MPP,
    SMALLEST_MPP,
    USUAL_MPP,
    Resolution,
    ResolutionSource,
    check_mpp,
    parse_mpp,
)


def typed_resolution(value: float | tuple[float, float], *, remember: bool) -> Resolution:
    """Return the resolution for microns per pixel that a user typed.

    Parameters
    ----------
    value
        One number, or (y, x).
    remember
        Whether the slide keeps it, which the resolution says in words.

    Raises
    ------
    ValueError
        If the value is not believable; the message says what is.
    """
    mpp = (float(value), float(value)) if isinstance(value, int | float) else value
    checked = check_mpp(mpp, "the value you typed", source=ResolutionSource.USER)
    if not checked.known:
        raise ValueError(f"Expected {SMALLEST_MPP:g} to {LARGEST_MPP:g} um per pixel. {checked.detail}")
    words = "You typed it; this slide keeps it." if remember else "You typed it, for this time only."
    if not checked.plausible:
        words += f" Slide scanners make {USUAL_MPP[0]:g} to {USUAL_MPP[1]:g}: please look again."
    return replace(checked, detail=words)


def user_name() -> str:
    """Return who is working here; empty where the system does not know."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def typed_number(text: str) -> float:
    """Return a number that a user typed, with a decimal point or comma.

    Raises
    ------
    ValueError
        If it is no number; the message says what is.
    """
    number = parse_mpp(text)
    if number is None:
        raise ValueError(f"Expected a number of microns such as 0.25; found {text.strip() or 'nothing'!r}.")
    return number
