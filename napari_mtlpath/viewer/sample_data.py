"""Sample slides in napari's menu File > Open Sample."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_mtlpath.viewer.opening import LayerData, layers_of

if TYPE_CHECKING:
    from napari_mtlpath.session.session import Session
    from napari_mtlpath.slides.slide import Slide


def cmu_1_small_region() -> list[LayerData]:
    """Return a region of a real H&E slide, from the data folder or fetched once."""
    return _layers("cmu-1-small-region")


def ihc() -> list[LayerData]:
    """Return the real immunohistochemistry image that is always there."""
    return _layers("ihc")


def simulated_smear() -> list[LayerData]:
    """Return a blood smear simulated from real cells, composed on first use."""
    return _layers("smear")


def _layers(name: str) -> list[LayerData]:
    # napari refuses a sample without layers, so an empty one stands for a slide that is still being composed.
    meanwhile = [(np.empty((0, 2)), {"name": f"{name} is being prepared"}, "points")]
    return layers_of(partial(_open, name), what="the sample slide", meanwhile=meanwhile)


def _open(name: str, session: "Session | None") -> "Slide":
    from napari_mtlpath.samples import sample
    from napari_mtlpath.slides.open import open_slide
    from napari_mtlpath.slides.resolution import Resolution, ResolutionMemory, ResolutionSource

    chosen = sample(name)
    slide = open_slide(chosen.path(), cache=session.cache if session is not None else None, memory=ResolutionMemory())
    if chosen.assumed_mpp is not None and not slide.resolution.known:
        mpp = (float(chosen.assumed_mpp), float(chosen.assumed_mpp))
        slide.with_resolution(Resolution(mpp=mpp, source=ResolutionSource.ASSUMED, detail=chosen.detail))
    return slide
