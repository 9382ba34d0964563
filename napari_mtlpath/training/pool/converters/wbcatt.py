"""White blood cells with their type and eleven attributes (PBC and WBCAtt), each attribute a task."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.nn.options import nearest
from napari_mtlpath.simulation.cells import CELL_TASKS, UNKNOWN, CellSet, load_cells
from napari_mtlpath.training.pool.converter import Converter, LabelledPictures, Reading


@dataclass(frozen=True, kw_only=True)
class WbcattOptions:
    """Which of the twelve labels, and where the archive lies.

    Attributes
    ----------
    label
        ``cell_type`` or an attribute, such as ``granularity``.
    crop
        Share of each picture's side that is kept, in its middle: a cell fills some two fifths of the published
        pictures, so that 0.6 brings it to about the size of cells that another set cuts out by their boxes.
    archive
        A zip with ``images/*.jpg``, ``labels_train.csv`` and ``labels_val.csv``.
    """

    label: str = "cell_type"
    crop: float = 1.0
    archive: str = "pbc_wbcatt_trainval_96.zip"


class Wbcatt(Converter):
    """One label of the cells of PBC (Acevedo et al., 2020) and WBCAtt (Tsutsui et al., 2023, arXiv:2306.13531).

    No patient is published with the cells: a group is a set of identical pictures. The published validation side is set
    aside for testing.
    """

    options_kind = WbcattOptions
    related = "wbcatt"

    @classmethod
    def convert(cls, options: WbcattOptions, reading: Reading) -> LabelledPictures:
        """Return one label of the cells as a task."""
        known = [task.name for task in CELL_TASKS]
        if options.label not in known:
            raise ValueError(
                f"The cells have no label {options.label!r}.{nearest(options.label, known)} Known: {', '.join(known)}."
            )
        if not 0.0 < options.crop <= 1.0:
            raise ValueError(f"crop is a share of the picture's side, above 0 and up to 1; found {options.crop}.")
        path = reading.find(options.archive)
        cells: CellSet = reading.once(("wbcatt", path), lambda: load_cells(path))
        labels = cells.column(options.label)
        chosen = np.flatnonzero(labels != UNKNOWN)
        return LabelledPictures(
            classes=CELL_TASKS[known.index(options.label)].classes,
            pictures=reading.once(("wbcatt", path, options.crop), lambda: middle(cells.images, options.crop)),
            items=chosen,
            labels=labels[chosen],
            groups=tuple(f"pixels-{number}" for number in cells.duplicate_groups[chosen]),
            held_out=cells.in_validation[chosen],
            facts=f"{path.name}, {options.label}: {len(chosen)} cells",
        )


def middle(images: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """Return the middle square of each image [image, y, x, 3] with `share` of its side, a view.

    Examples
    --------
    >>> middle(np.zeros((2, 96, 96, 3), np.uint8), 0.5).shape
    (2, 48, 48, 3)
    """
    side = images.shape[1]
    kept = max(1, round(share * side))
    start = (side - kept) // 2
    return images[:, start : start + kept, start : start + kept]
