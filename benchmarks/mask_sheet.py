"""A contact sheet of masks for checking by eye: ``python -m benchmarks.mask_sheet OUT.png [--model M]``.

Five rows of cells drawn by chance from the validation cells of the public archive, one row per cell type, with the
outlines of nucleus (yellow) and whole cell (green) as the rule derives them; with ``--model``, each cell appears a
second time beside it, with what the model says about it.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.segmentation import find_boundaries

from napari_mtlpath.simulation.cells import CellSet, load_cells
from napari_mtlpath.training.pixels.derived_masks import BACKGROUND, CELL_PARTS, NUCLEUS, derive_mask
from napari_mtlpath.training.tile_training.tile_data import find_data
from napari_mtlpath.zoo.pixel_load import load_pixel_model
from napari_mtlpath.zoo.pixel_model import PixelModel

CELL, NUCLEAR = (0, 255, 0), (255, 255, 0)
ZOOM = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="")
    parser.add_argument("--cells", type=int, default=8, help="per cell type")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    cells = load_cells(find_data("pbc_wbcatt_trainval_96.zip")).validation()
    model = load_pixel_model(arguments.model, device="cpu") if arguments.model else None
    sheet(cells, model, per_type=arguments.cells, seed=arguments.seed).save(arguments.out)


def sheet(cells: CellSet, model: PixelModel | None, *, per_type: int = 8, seed: int = 0) -> Image.Image:
    """Return the sheet of some cells of each type."""
    random = np.random.default_rng(seed)
    rows = []
    for kind in range(len(cells.tasks[0].classes)):
        of_kind = np.flatnonzero(cells.column("cell_type") == kind)
        images = cells.images[random.choice(of_kind, per_type, replace=False)]
        shown = [outlined(image, derive_mask(image)) for image in images]
        if model is not None:
            said = model.answer(images, attention=False).pixels[CELL_PARTS.name].argmax(1)
            pairs = zip(shown, images, said, strict=True)
            shown = [np.hstack([derived, outlined(image, mask)]) for derived, image, mask in pairs]
        rows.append(np.hstack(shown))
    return Image.fromarray(np.vstack(rows))


def outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return an image enlarged, with the outlines of its cell and nucleus."""
    side = image.shape[0] * ZOOM
    drawn = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)).copy()
    large = np.kron(mask.astype(np.uint8), np.ones((ZOOM, ZOOM), np.uint8))
    drawn[find_boundaries(large != BACKGROUND, mode="inner")] = CELL
    drawn[find_boundaries(large == NUCLEUS, mode="inner")] = NUCLEAR
    return drawn


if __name__ == "__main__":
    main()
