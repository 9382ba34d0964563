"""What is to be analysed pixel by pixel: which windows of a slide, and what their answers depend on."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.inputs import AnalysedSlide
from napari_mtlpath.inference.pixels.inputs import AnsweringModel
from napari_mtlpath.inference.pixels.lattice import Lattice
from napari_mtlpath.tiles.tissue import TissueMap, thumbnail_side


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelPlan:
    """The windows of one slide for one model.

    Attributes
    ----------
    lattice
        Where they lie.
    tissue
        Cores on tissue, [row, column].
    key
        Names everything that changes an answer: slide, model, lattice, colours.
    """

    lattice: Lattice
    tissue: NDArray[np.bool_]
    key: str

    @property
    def indices(self) -> NDArray[np.int64]:
        """Tissue tiles, ascending."""
        return np.flatnonzero(self.tissue.ravel()).astype(np.int64)

    @property
    def total(self) -> int:
        """Number of tissue tiles."""
        return int(self.tissue.sum())


def lattice_for(slide: AnalysedSlide, model: AnsweringModel) -> Lattice:
    """Lay a pixel model's windows over a slide.

    Raises
    ------
    ValueError
        If the slide's microns per pixel are unknown, or no tile fits.
    """
    mpp, spec = slide.resolution.mpp, model.card.tile
    if mpp is None:
        raise ValueError(
            f"Slide {slide.name!r} has no known microns per pixel, and model {model.card.name!r} needs tiles of "
            f"{spec.tile_um:g} um. Enter the value in the Slide section, or pass --mpp."
        )
    lattice = Lattice.for_slide(height=slide.height, width=slide.width, mpp=mpp, spec=spec)
    if 2 * min(slide.height, slide.width) < lattice.grid.side:
        raise ValueError(
            f"Slide {slide.name!r} is {slide.height} x {slide.width} px, less than half a tile of model "
            f"{model.card.name!r} ({lattice.grid.side} px). Check its microns per pixel ({mpp[0]:g})."
        )
    return lattice


def key_of(slide: AnalysedSlide, model: AnsweringModel, lattice: Lattice) -> str:
    """Return what names the answers of a model for a slide, as SHA-256."""
    parts = (slide.fingerprint, model.digest, lattice.grid.key, lattice.grid.spec.key, lattice.margin_px, slide.colour)
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()


def pixel_plan(slide: AnalysedSlide, model: AnsweringModel) -> PixelPlan:
    """Find the tissue and lay out the work; reads a thumbnail.

    Raises
    ------
    ValueError
        As :func:`lattice_for`.
    """
    lattice = lattice_for(slide, model)
    tissue = TissueMap.for_grid(slide.thumbnail(max_side=thumbnail_side(lattice.grid)), lattice.grid)
    return PixelPlan(lattice=lattice, tissue=tissue, key=key_of(slide, model, lattice))
