"""Blood cells cut from the fields of BCCD by their boxes: kinds of blood cell, or types of white cell."""

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_mtlpath.training.pool.converter import Converter, LabelledPictures, Reading, of_enough_classes
from napari_mtlpath.training.pool.pictures import square_around

KINDS = ("RBC", "WBC", "Platelets")
TYPES = ("NEUTROPHIL", "EOSINOPHIL", "BASOPHIL", "LYMPHOCYTE", "MONOCYTE")
SMALLEST_BOX = 8
"""Side in pixels below which a box is a slip of the pen; some have none at all."""
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, kw_only=True)
class BccdOptions:
    """What is asked about the cells, and how they are cut out.

    Attributes
    ----------
    label
        ``cells``: red cell, white cell or platelet. ``white_cells``: the type of the white cell of fields that have
        exactly one white cell and one type.
    margin
        How far the square reaches beyond the longer side of a box, as a share of that side.
    least
        Classes of fewer pictures are left out.
    archive
        A zip with ``JPEGImages/``, ``Annotations/`` and ``wbc_type_labels.csv``.
    """

    label: str = "cells"
    margin: float = 0.1
    least: int = 20
    archive: str = "bccd_fields.zip"


@dataclass(frozen=True, kw_only=True)
class _Box:
    field: str
    kind: str
    y: float
    x: float
    side: float


class Bccd(Converter):
    """Cells of BCCD (MIT licence), cut out as squares around their boxes; a group is a field of view.

    Squares that reach over the edge of a field are moved inside. All are brought to one size afterwards, so that the
    size of a cell is not told by the size of its picture.
    """

    options_kind = BccdOptions
    related = "bccd"

    @classmethod
    def convert(cls, options: BccdOptions, reading: Reading) -> LabelledPictures:
        """Return the cells as a task."""
        if options.label not in ("cells", "white_cells"):
            raise ValueError(f"bccd knows the labels 'cells' and 'white_cells'; found {options.label!r}.")
        path = reading.find(options.archive)
        boxes, types = reading.once(("bccd", path), lambda: _read(path))
        if options.label == "cells":
            chosen = [(box, KINDS.index(box.kind)) for box in boxes]
        else:
            chosen = list(_typed(boxes, types))
        pictures = _cut(path, [box for box, _ in chosen], options.margin)
        made = LabelledPictures(
            classes=KINDS if options.label == "cells" else TYPES,
            pictures=pictures,
            items=np.arange(len(chosen)),
            labels=np.array([code for _, code in chosen], dtype=np.int64),
            groups=tuple(box.field for box, _ in chosen),
            facts=f"{path.name}, {options.label}: {len(chosen)} cells",
        )
        return of_enough_classes(made, least=options.least)


def _read(path: Path) -> tuple[list[_Box], dict[str, str]]:
    with zipfile.ZipFile(path) as archive:
        boxes = [box for name in sorted(archive.namelist()) for box in _boxes(archive, name)]
        rows = csv.DictReader(io.StringIO(archive.read("wbc_type_labels.csv").decode("utf-8")))
        types = {f"BloodImage_{int(row['Image']):05d}": row["Category"] for row in rows}
    return boxes, types


def _boxes(archive: zipfile.ZipFile, name: str) -> Iterator[_Box]:
    if not name.endswith(".xml"):
        return
    for entry in ElementTree.fromstring(archive.read(name)).iter("object"):
        left, top, right, bottom = (float(entry.findtext(f"bndbox/{key}", "0")) for key in _CORNERS)
        kind = entry.findtext("name", "")
        side = max(right - left, bottom - top)
        if kind in KINDS and min(right - left, bottom - top) >= SMALLEST_BOX:
            field = PurePosixPath(name).stem
            yield _Box(field=field, kind=kind, y=(top + bottom) / 2, x=(left + right) / 2, side=side)


def _typed(boxes: list[_Box], types: dict[str, str]) -> Iterator[tuple[_Box, int]]:
    white: dict[str, list[_Box]] = {}
    for box in boxes:
        if box.kind == "WBC":
            white.setdefault(box.field, []).append(box)
    for field, found in white.items():
        named = re.findall(r"[A-Z]+", types.get(field, ""))
        if len(found) == len(named) == 1 and named[0] in TYPES:
            yield found[0], TYPES.index(named[0])


def _cut(path: Path, boxes: list[_Box], margin: float) -> tuple[NDArray[np.uint8], ...]:
    fields: dict[str, NDArray[np.uint8]] = {}
    with zipfile.ZipFile(path) as archive:
        for box in boxes:
            if box.field not in fields:
                image = Image.open(io.BytesIO(archive.read(f"JPEGImages/{box.field}.jpg")))
                fields[box.field] = np.asarray(image.convert("RGB"))
    return tuple(square_around(fields[b.field], y=b.y, x=b.x, side=b.side * (1 + 2 * margin)) for b in boxes)
