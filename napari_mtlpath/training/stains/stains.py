"""Labels of tissue by stain separation: which pixels are DAB-positive, nuclear, or eosin-rich."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.color import rgb_from_hed
from skimage.filters import threshold_otsu

from napari_mtlpath.tasks import Regression

STAIN_TASKS = (
    Regression(
        name="dab",
        title="DAB-positive area",
        question="Which share of the area is brown (DAB-positive)?",
        unit="share of area",
    ),
    Regression(
        name="nuclei",
        title="Nuclear area",
        question="Which share of the area is blue (nuclei, by haematoxylin)?",
        unit="share of area",
    ),
    Regression(
        name="eosin",
        title="Eosin-rich area",
        question="Which share of the area is pink (cytoplasm and stroma, by eosin)?",
        unit="share of area",
    ),
)

TISSUE_DENSITY = 0.15  # mean optical density (base 10 per channel) below which glass is bare
SMOOTHING_PX = 1.0  # at 0.5 um/px: a nucleus is some 12 px wide, JPEG noise one


class Stain(StrEnum):
    """How a section was stained, and so which stains its colours can be separated into."""

    HAEMATOXYLIN_EOSIN = "h&e"
    HAEMATOXYLIN_DAB = "ihc"


@dataclass(frozen=True, kw_only=True, eq=False)
class StainedImage:
    """A section at 0.5 um/px with a label for every pixel.

    Attributes
    ----------
    name
        What the card calls it.
    pixels
        RGB, uint8 [y, x, 3].
    masks
        Per task of `STAIN_TASKS`, which pixels count, [y, x]. A stain that the section did not get counts nowhere.
    """

    name: str
    pixels: UInt8[NDArray, "y x 3"]
    masks: Mapping[str, NDArray[np.bool_]]

    def part(self, *, rows: slice = slice(None), columns: slice = slice(None)) -> "StainedImage":
        """Return some rows and columns of the section."""
        masks = {task: mask[rows, columns] for task, mask in self.masks.items()}
        return StainedImage(name=self.name, pixels=self.pixels[rows, columns], masks=masks)


def stained_image(name: str, pixels: UInt8[NDArray, "y x 3"], stain: Stain) -> StainedImage:
    """Label a section's pixels by its own stains, separated as by Ruifrok and Johnston (2001).

    Only the two stains that the section got are fitted (least squares, clipped at 0), so that eosin is never mistaken
    for DAB. Thresholds are Otsu's, over the section's tissue. A pixel counts for one task at most: DAB before nuclei,
    nuclei before eosin.
    """
    density = optical_density(pixels)
    tissue = density.mean(2) > TISSUE_DENSITY
    rows = {Stain.HAEMATOXYLIN_EOSIN: (0, 1), Stain.HAEMATOXYLIN_DAB: (0, 2)}[stain]
    haematoxylin, second = np.moveaxis(unmixed(density, rgb_from_hed[list(rows)]), 2, 0)
    is_blue = _above_otsu(haematoxylin, tissue)
    nowhere = np.zeros_like(tissue)
    match stain:
        case Stain.HAEMATOXYLIN_DAB:
            dab = _above_otsu(second, tissue)
            masks = {"dab": dab, "nuclei": is_blue & ~dab, "eosin": nowhere}
        case Stain.HAEMATOXYLIN_EOSIN:
            masks = {"dab": nowhere, "nuclei": is_blue, "eosin": _above_otsu(second, tissue) & ~is_blue}
    return StainedImage(name=name, pixels=pixels, masks=masks)


def optical_density(pixels: UInt8[NDArray, "y x 3"]) -> Float[NDArray, "y x 3"]:
    """Return the smoothed optical density, base 10, of each channel against white (255)."""
    density = -np.log10(np.maximum(pixels, 1) / 255.0)
    return gaussian_filter(density, sigma=(SMOOTHING_PX, SMOOTHING_PX, 0))


def unmixed(density: Float[NDArray, "y x 3"], stains: Float[NDArray, "stain 3"]) -> Float[NDArray, "y x stain"]:
    """Return the amount of each stain per pixel, at least 0, by least squares."""
    return np.maximum(density @ np.linalg.pinv(stains), 0.0)


def labelled_sections(wsi: Path) -> tuple[StainedImage, ...]:
    """Return the sections that the tissue models learn from.

    Parameters
    ----------
    wsi
        Folder with ``CMU-1-Small-Region.svs`` and ``HE_example.tif``; the IHC section comes with scikit-image.
    """
    from skimage import data

    from napari_mtlpath.slides.open import open_slide

    sections = [stained_image("scikit-image IHC", data.immunohistochemistry(), Stain.HAEMATOXYLIN_DAB)]
    for file in ("CMU-1-Small-Region.svs", "HE_example.tif"):
        slide = open_slide(wsi / file)
        try:
            pixels = slide.read_region(0, 0, slide.height, slide.width).array
        finally:
            slide.close()
        sections.append(stained_image(file, pixels, Stain.HAEMATOXYLIN_EOSIN))
    return tuple(sections)


def _above_otsu(amount: Float[NDArray, "y x"], tissue: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return (amount > threshold_otsu(amount[tissue])) & tissue
