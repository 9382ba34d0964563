"""White blood cells with their type and eleven attributes (PBC and WBCAtt), each attribute a task."""

from dataclasses import dataclass

import numpy as np

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
    archive
        A zip with ``images/*.jpg``, ``labels_train.csv`` and ``labels_val.csv``.
    """

    label: str = "cell_type"
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
        path = reading.find(options.archive)
        cells: CellSet = reading.once(("wbcatt", path), lambda: load_cells(path))
        labels = cells.column(options.label)
        chosen = np.flatnonzero(labels != UNKNOWN)
        return LabelledPictures(
            classes=CELL_TASKS[known.index(options.label)].classes,
            pictures=cells.images,
            items=chosen,
            labels=labels[chosen],
            groups=tuple(f"pixels-{number}" for number in cells.duplicate_groups[chosen]),
            held_out=cells.in_validation[chosen],
            facts=f"{path.name}, {options.label}: {len(chosen)} cells",
        )
