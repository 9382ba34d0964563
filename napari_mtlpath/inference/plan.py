"""What is to be analysed: which tiles of a slide, for which model, under which key they are kept."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.features.key import FeatureKey
from napari_mtlpath.inference.inputs import AnalysedSlide, EncodingCard, EncodingModel
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.tissue import TissueMap, thumbnail_side


class SlideChangedError(OSError):
    """The slide's file is no longer what was opened; nothing that was read since then can be trusted."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TissueTiles:
    """Tiles of a slide that are worth reading.

    Attributes
    ----------
    tissue
        Tiles on tissue, [row, column].
    """

    tissue: NDArray[np.bool_]

    @property
    def indices(self) -> NDArray[np.int64]:
        """Tissue tiles, ascending."""
        return np.flatnonzero(self.tissue.ravel()).astype(np.int64)

    @property
    def total(self) -> int:
        """Number of tissue tiles."""
        return int(self.tissue.sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class AnalysisPlan(TissueTiles):
    """The tiles of one slide for one model.

    Attributes
    ----------
    grid
        The model's tiles on the slide.
    key
        Under which the embeddings are kept.
    """

    grid: TileGrid
    key: FeatureKey


def known_mpp(slide: AnalysedSlide, card: EncodingCard) -> tuple[float, float]:
    """Return a slide's microns per pixel (y, x), for a model's tiles; raise ValueError where they are unknown."""
    mpp = slide.resolution.mpp
    if mpp is None:
        raise ValueError(
            f"Slide {slide.name!r} has no known microns per pixel, and model {card.name!r} needs tiles of "
            f"{card.tile.tile_um:g} um. Enter the value in the Slide section, or pass --mpp."
        )
    return mpp


def check_size(slide: AnalysedSlide, card: EncodingCard, grid: TileGrid) -> None:
    """Raise ValueError if the slide is smaller than half a tile of a model."""
    if 2 * min(slide.height, slide.width) <= grid.side:
        raise ValueError(
            f"Slide {slide.name!r} is {slide.height} x {slide.width} px, less than half a tile of model "
            f"{card.name!r} ({grid.side} px). Check its microns per pixel ({grid.mpp[0]:g})."
        )


def grid_for(slide: AnalysedSlide, model: EncodingModel) -> TileGrid:
    """Lay a model's tiles over a slide.

    Raises
    ------
    ValueError
        If the slide's microns per pixel are unknown, or no tile fits.
    """
    mpp = known_mpp(slide, model.card)
    grid = TileGrid.for_slide(
        height=slide.height, width=slide.width, mpp=mpp, spec=model.card.tile, native_tile=slide.tile_shape(0)
    )
    check_size(slide, model.card, grid)
    return grid


def key_for(slide: AnalysedSlide, model: EncodingModel, grid: TileGrid) -> FeatureKey:
    """Return the key of a slide's embeddings by a model's encoder: models that share an encoder share it."""
    return FeatureKey(
        slide=slide.fingerprint,
        encoder=model.encoder.digest,
        tiles=f"{grid.spec.key}-{grid.key}",
        preprocessing=str(slide.colour),
    )


def check_unchanged(slide: AnalysedSlide) -> None:
    """Raise :class:`SlideChangedError` if the slide's file is no longer what was opened."""
    changed = slide.changed_on_disk()
    if changed:
        raise SlideChangedError(changed)


def plan_for(slide: AnalysedSlide, model: EncodingModel) -> AnalysisPlan:
    """Find the tissue and lay out the work; reads a thumbnail.

    Raises
    ------
    ValueError
        As :func:`grid_for`.
    """
    grid = grid_for(slide, model)
    tissue = TissueMap.for_grid(slide.thumbnail(max_side=thumbnail_side(grid)), grid)
    return AnalysisPlan(grid=grid, tissue=tissue, key=key_for(slide, model, grid))
