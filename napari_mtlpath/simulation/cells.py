"""Real, labelled white blood cells: images, twelve labels each, and a split that keeps duplicates on one side."""

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_mtlpath.tasks import Classification
from napari_mtlpath.units import Microns

UNKNOWN = -1
"""Code of a label that nobody gave."""

CELL_UM = Microns(36.0)
"""Nominal: the cells were photographed at 100x and resized, no pixel size is published with them."""

CELL_TASKS = (
    Classification(name="cell_type", classes=("Neutrophil", "Eosinophil", "Basophil", "Lymphocyte", "Monocyte")),
    Classification(name="cell_size", classes=("small", "big")),
    Classification(name="cell_shape", classes=("round", "irregular")),
    Classification(
        name="nucleus_shape",
        classes=(
            "unsegmented-band",
            "unsegmented-round",
            "unsegmented-indented",
            "segmented-bilobed",
            "segmented-multilobed",
            "irregular",
        ),
    ),
    Classification(name="nuclear_cytoplasmic_ratio", classes=("low", "high")),
    Classification(name="chromatin_density", classes=("loosely", "densely")),
    Classification(name="cytoplasm_vacuole", classes=("no", "yes")),
    Classification(name="cytoplasm_texture", classes=("clear", "frosted")),
    Classification(name="cytoplasm_colour", classes=("light blue", "blue", "purple blue")),
    Classification(name="granule_type", classes=("small", "round", "coarse", "nil")),
    Classification(name="granule_colour", classes=("pink", "purple", "red", "nil")),
    Classification(name="granularity", classes=("no", "yes")),
)
"""The cell type (PBC, Acevedo et al., 2020) and the eleven attributes of WBCAtt (Tsutsui et al., 2023)."""

_COLUMN_OF_TASK = {"cell_type": "label"}
_TABLES = {"labels_train.csv": False, "labels_val.csv": True}


@dataclass(frozen=True, kw_only=True, eq=False)
class CellSet:
    """Labelled images of single cells.

    Attributes
    ----------
    images
        RGB images, uint8 [cell, y, x, 3].
    names
        File name of each cell in the archive.
    labels
        Class codes in the order of `tasks`, [cell, task]; `UNKNOWN` where no label was given.
    duplicate_groups
        Cells with identical pixels share a number, [cell].
    in_validation
        Which cells belong to the validation side, [cell].
    tasks
        What the columns of `labels` mean.
    dropped
        Number of training cells left out because the same pixels are in validation.
    """

    images: NDArray[np.uint8]
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    duplicate_groups: NDArray[np.int64]
    in_validation: NDArray[np.bool_]
    tasks: tuple[Classification, ...] = CELL_TASKS
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.names)

    def column(self, task: str) -> NDArray[np.int64]:
        """Return the codes of one task, [cell]."""
        return self.labels[:, [each.name for each in self.tasks].index(task)]

    def is_class(self, task: str, label: str) -> NDArray[np.bool_]:
        """Return which cells carry the class `label` of `task`, [cell]."""
        classes = next(each.classes for each in self.tasks if each.name == task)
        if label not in classes:
            raise ValueError(f"Task {task!r} has the classes {', '.join(classes)}; found {label!r}.")
        return self.column(task) == classes.index(label)

    def subset(self, chosen: NDArray[np.bool_]) -> "CellSet":
        """Return the cells where `chosen` is true, in their order."""
        names = tuple(name for name, keep in zip(self.names, chosen, strict=True) if keep)
        return replace(
            self,
            images=self.images[chosen],
            names=names,
            labels=self.labels[chosen],
            duplicate_groups=self.duplicate_groups[chosen],
            in_validation=self.in_validation[chosen],
        )

    def train(self) -> "CellSet":
        """Return the training side."""
        return self.subset(~self.in_validation)

    def validation(self) -> "CellSet":
        """Return the validation side."""
        return self.subset(self.in_validation)

    def without_types(self, types: Iterable[str]) -> "CellSet":
        """Return the cells of all other types, for an encoder that must be blind to `types`."""
        keep = np.ones(len(self), dtype=bool)
        for each in types:
            keep &= ~self.is_class("cell_type", each)
        return self.subset(keep)


def load_cells(path: Path) -> CellSet:
    """Read the archive of cells, and drop training cells whose exact pixels are in validation too.

    Parameters
    ----------
    path
        A zip with ``images/*.jpg``, ``labels_train.csv`` and ``labels_val.csv``.

    Raises
    ------
    FileNotFoundError
        If there is no such archive.
    ValueError
        If a table is missing, a label is not one of its task's classes, or images differ in size.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected the archive of cells at {path}; found none. Set MTLPATH_DATA to its folder.")
    with zipfile.ZipFile(path) as archive:
        missing = sorted(set(_TABLES) - set(archive.namelist()))
        if missing:
            raise ValueError(f"{path.name} must hold {', '.join(_TABLES)}; missing: {', '.join(missing)}.")
        rows = [(row, held_out) for table, held_out in _TABLES.items() for row in _rows(archive, table)]
        images = [np.asarray(Image.open(io.BytesIO(archive.read(f"images/{row['img_name']}")))) for row, _ in rows]
    if len({image.shape for image in images}) != 1:
        raise ValueError(f"All cells of {path.name} must have one size; found {sorted({i.shape for i in images})}.")
    everything = CellSet(
        images=np.stack(images),
        names=tuple(row["img_name"] for row, _ in rows),
        labels=np.array([_codes(row) for row, _ in rows], dtype=np.int64),
        duplicate_groups=duplicate_groups(images),
        in_validation=np.array([held_out for _, held_out in rows], dtype=bool),
    )
    return _on_one_side(everything)


def duplicate_groups(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """Return one number per image, equal for identical pixels (SHA-256 over shape and pixels)."""
    numbers: dict[bytes, int] = {}
    digests = [hashlib.sha256(repr(i.shape).encode() + np.ascontiguousarray(i).tobytes()).digest() for i in images]
    return np.array([numbers.setdefault(digest, len(numbers)) for digest in digests], dtype=np.int64)


def _on_one_side(cells: CellSet) -> CellSet:
    held_out = set(cells.duplicate_groups[cells.in_validation].tolist())
    leaks = np.array([group in held_out for group in cells.duplicate_groups.tolist()]) & ~cells.in_validation
    return replace(cells.subset(~leaks), dropped=int(leaks.sum()))


def _rows(archive: zipfile.ZipFile, table: str) -> list[dict[str, str]]:
    with archive.open(table) as stream:
        return list(csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8")))


def _codes(row: dict[str, str]) -> list[int]:
    return [_code(task, row.get(_COLUMN_OF_TASK.get(task.name, task.name), "")) for task in CELL_TASKS]


def _code(task: Classification, label: str | None) -> int:
    if not label:
        return UNKNOWN
    if label not in task.classes:
        raise ValueError(f"Task {task.name!r} has the classes {', '.join(task.classes)}; found {label!r}.")
    return task.classes.index(label)
