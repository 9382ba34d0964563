"""Where labels are made: a slide, the tiles that a model sees on it, and which of them hold tissue."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.features.key import FeatureKey
from napari_mtlpath.review.events import SlideSeen
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.spec import TileSpec

if TYPE_CHECKING:
    from napari_mtlpath.slides.slide import Slide
    from napari_mtlpath.zoo.model import SlideModel


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelPlace:
    """The tiles of one slide for one model; labels that a click makes belong to the place that was clicked.

    Attributes
    ----------
    slide
        The open slide.
    grid
        The model's tiles on it.
    key
        Under which their embeddings are kept.
    tissue
        Tiles on tissue, [row, column].
    """

    slide: "Slide"
    grid: TileGrid
    key: FeatureKey
    tissue: NDArray[np.bool_]

    @property
    def fingerprint(self) -> str:
        """The slide's."""
        return self.slide.fingerprint

    def on_tissue(self, indices: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return those tiles that hold tissue, so that the model sees them."""
        indices = np.asarray(indices, dtype=np.int64)
        return indices[self.tissue.ravel()[indices]]

    def seen(self) -> SlideSeen:
        """Return what must be kept to find the slide's tiles and embeddings again."""
        return slide_seen(self.slide, mpp=self.grid.mpp)


def slide_seen(slide: "Slide", *, mpp: tuple[float, float]) -> SlideSeen:
    """Return what must be kept to find a slide, its tiles and their embeddings again."""
    return SlideSeen(
        name=slide.name,
        path=str(Path(slide.path).absolute()),
        height=slide.height,
        width=slide.width,
        mpp=mpp,
        native_tile=slide.tile_shape(0),
        colour=str(slide.colour),
    )


def place_of(slide: "Slide", model: "SlideModel") -> LabelPlace:
    """Lay a model's tiles over a slide and find the tissue. Reads a thumbnail: not for the GUI thread.

    Raises
    ------
    ValueError
        If the slide's microns per pixel are unknown, or no tile fits.
    """
    from napari_mtlpath.inference.plan import plan_for  # imports torch, which is there once there is a model

    plan = plan_for(slide, model)
    return LabelPlace(slide=slide, grid=plan.grid, key=plan.key, tissue=plan.tissue)


def grid_of(seen: SlideSeen, spec: TileSpec) -> TileGrid:
    """Return the tiles of a model on a slide that was open once."""
    return TileGrid.for_slide(
        height=seen.height, width=seen.width, mpp=seen.mpp, spec=spec, native_tile=seen.native_tile
    )


def key_of(fingerprint: str, seen: SlideSeen, grid: TileGrid, encoder: str) -> FeatureKey:
    """Return under which the embeddings of such a slide are kept."""
    return FeatureKey(
        slide=fingerprint, encoder=encoder, tiles=f"{grid.spec.key}-{grid.key}", preprocessing=seen.colour
    )
