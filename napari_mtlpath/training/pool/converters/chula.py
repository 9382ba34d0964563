"""Red blood cells cut from the fields of Chula RBC-12 around their points: twelve kinds of red cell."""

import csv
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from napari_mtlpath.training.pool.converter import Converter, LabelledPictures, Reading, of_enough_classes
from napari_mtlpath.training.pool.pictures import square_around

TYPES = (
    "normal cell", "macrocyte", "microcyte", "spherocyte", "target cell", "stomatocyte", "ovalocyte", "teardrop",
    "burr cell", "schistocyte", "uncategorised", "hypochromia", "elliptocyte",
)  # fmt: skip
UNCATEGORISED = TYPES.index("uncategorised")


@dataclass(frozen=True, kw_only=True)
class ChulaOptions:
    """How the cells are cut out.

    Attributes
    ----------
    side_px
        Side of the square around a point; cells measure some 70 pixels.
    least
        Classes of fewer pictures are left out.
    archive
        A zip with ``images/`` and ``labels.csv`` (image, x, y, type).
    """

    side_px: int = 80
    least: int = 20
    archive: str = "chula_rbc12_fields.zip"


class Chula(Converter):
    """Red cells of Chula RBC-12 (Naruenatthanaset et al., 2021, arXiv:2012.01321, MIT); a group is a field of view.

    Not every cell of a field is labelled, so that only labelled points are used and nothing is taken for a negative.
    Kinds come in series of fields: part of what tells them apart may be the field. Those without a kind are left out.
    """

    options_kind = ChulaOptions
    related = "chula"

    @classmethod
    def convert(cls, options: ChulaOptions, reading: Reading) -> LabelledPictures:
        """Return the cells as a task."""
        path = reading.find(options.archive)
        return reading.once(("chula", path, options.side_px, options.least), lambda: _read(path, options))  # type: ignore[no-any-return]


def _read(path: Path, options: ChulaOptions) -> LabelledPictures:
    pictures, labels, groups = [], [], []
    with zipfile.ZipFile(path) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("labels.csv").decode("utf-8"))))
        for image in sorted({row["image"] for row in rows}, key=int):
            field = np.asarray(Image.open(io.BytesIO(archive.read(f"images/{image}.jpg"))).convert("RGB"))
            for row in rows:
                kind = int(row["type"])
                if row["image"] == image and kind != UNCATEGORISED:
                    y, x = float(row["y"]), float(row["x"])
                    pictures.append(square_around(field, y=y, x=x, side=float(options.side_px)))
                    labels.append(kind)
                    groups.append(f"field-{image}")
    made = LabelledPictures(
        classes=TYPES,
        pictures=tuple(pictures),
        items=np.arange(len(pictures)),
        labels=np.array(labels, dtype=np.int64),
        groups=tuple(groups),
        facts=f"{path.name}: {len(pictures)} cells",
    )
    return of_enough_classes(made, least=options.least)
