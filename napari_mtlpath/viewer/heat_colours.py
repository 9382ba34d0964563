"""The colours of heatmaps: see-through where values are low, evenly stronger where they rise, on any tissue."""

from functools import cache

import numpy as np
from napari.utils.colormaps import ensure_colormap
from numpy.typing import ArrayLike, NDArray

PARTS = {"viridis": (0.3, 0.96), "plasma": (0.3, 1.0), "inferno": (0.15, 0.8), "cividis": (0.3, 1.0)}
"""The part of each colour map that is used: without the ends that a bright slide or a dark one would swallow."""

TISSUE = (0.86, 0.72, 0.76)
"""A light stained tissue, as sRGB: on it equal steps of the value look equal."""

USUAL_OPACITY = 0.6
"""The opacity at which equal steps look equal; it is where the slider stands at first."""

COLOURS = 128
"""Colours of a ramp: finer than anybody sees."""

STARTS = 8
"""So many colour maps serve all thresholds: each is a name in napari's list, and a shader to be built."""

FINE = 1024
"""Points of a ramp while its steps are evened out."""


def lab(colours: ArrayLike) -> NDArray[np.float64]:
    """Return CIELAB coordinates [..., (L*, a*, b*)] of sRGB colours [..., 3] in 0 to 1 (CIE 15:2018, D65)."""
    encoded = np.asarray(colours, np.float64)
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _SRGB_TO_XYZ.T / _WHITE
    bent = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(bent, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


_SRGB_TO_XYZ = np.array(  # IEC 61966-2-1
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


def over(colours: NDArray[np.float64], background: ArrayLike, *, opacity: float = 1.0) -> NDArray[np.float64]:
    """Return what is seen, sRGB [..., 3], where RGBA colours [..., 4] lie on a background at an opacity of 0 to 1."""
    alpha = colours[..., 3:] * opacity
    seen: NDArray[np.float64] = alpha * colours[..., :3] + (1 - alpha) * np.asarray(background, np.float64)
    return seen


@cache
def _ramp(name: str) -> NDArray[np.float64]:
    """Return RGBA [FINE, 4] from see-through to full, spaced so that equal steps look equal on stained tissue."""
    along = np.linspace(0.0, 1.0, FINE)
    first, last = PARTS[name]
    colours = np.array(ensure_colormap(name).map(first + (last - first) * along), np.float64)
    colours[:, 3] = along
    steps = np.linalg.norm(np.diff(lab(over(colours, TISSUE, opacity=USUAL_OPACITY)), axis=0), axis=1)
    length = np.concatenate([[0.0], np.cumsum(steps)])
    even = np.interp(along * length[-1], length, along)
    return np.stack([np.interp(even, along, channel) for channel in colours.T], axis=-1)


def heat_colours(name: str, *, start: float = 0.0, count: int = COLOURS) -> NDArray[np.float64]:
    """Return RGBA [count, 4] for values from `start` (a fraction of the scale) to its end.

    Parameters
    ----------
    name
        One of :data:`PARTS`.
    start
        0 for the whole scale; with a threshold, what :func:`first_shown` says.
    count
        How many colours.

    Examples
    --------
    >>> heat_colours("viridis")[0, 3], heat_colours("viridis")[-1, 3]
    (np.float64(0.0), np.float64(1.0))
    """
    places = np.linspace(min(max(start, 0.0), 1.0), 1.0, count)
    along = np.linspace(0.0, 1.0, FINE)
    return np.stack([np.interp(places, along, channel) for channel in _ramp(name).T], axis=-1)


def first_shown(hidden: float) -> float:
    """Return with which share of the scale the colours begin when the lower share `hidden` of it is hidden.

    The colours that stay are spread from the threshold to the end. They hardly differ from those without a threshold,
    and what is just not hidden can be seen.
    """
    return float(np.ceil(min(max(hidden, 0.0), 1.0) * STARTS) / STARTS)
