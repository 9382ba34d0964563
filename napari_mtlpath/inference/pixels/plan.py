"""What is to be analysed pixel by pixel: which windows of a slide, and what their answers depend on."""

import hashlib
from dataclasses import dataclass

from napari_mtlpath.inference.inputs import AnalysedSlide
from napari_mtlpath.inference.pixels.inputs import AnsweringModel
from napari_mtlpath.inference.pixels.lattice import Lattice
from napari_mtlpath.inference.plan import TissueTiles, check_size, known_mpp
from napari_mtlpath.tiles.tissue import TissueMap, thumbnail_side


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelPlan(TissueTiles):
    """The windows of one slide for one model; its tiles are their cores.

    Attributes
    ----------
    lattice
        Where they lie.
    key
        Names everything that changes an answer: slide, model, lattice, colours.
    """

    lattice: Lattice
    key: str


def lattice_for(slide: AnalysedSlide, model: AnsweringModel) -> Lattice:
    """Lay a pixel model's windows over a slide.

    Raises
    ------
    ValueError
        If the slide's microns per pixel are unknown, or no tile fits.
    """
    mpp, spec = known_mpp(slide, model.card), model.card.tile
    lattice = Lattice.for_slide(height=slide.height, width=slide.width, mpp=mpp, spec=spec)
    check_size(slide, model.card, lattice.grid)
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
