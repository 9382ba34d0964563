"""A CSV table that names pictures, their class, and what they belong to."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_mtlpath.training.pool.converter import Converter, LabelledPictures, Reading, of_enough_classes
from napari_mtlpath.training.pool.pictures import PictureFiles


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Which table, and what its columns mean.

    Attributes
    ----------
    path
        A CSV file with a header.
    images
        The folder that the column of pictures is relative to; empty for the table's own.
    image, label
        Columns of a picture's path and of its class; a row without a class is left out.
    group
        Column of the patient, slide or image that a picture comes from; empty where every picture stands alone.
    least
        Classes of fewer pictures are left out.
    """

    path: str
    images: str = ""
    image: str = "image"
    label: str = "label"
    group: str = ""
    least: int = 2


class Table(Converter):
    """Pictures listed in a table. Classes are ordered by name, numbers by value."""

    options_kind = TableOptions

    @classmethod
    def convert(cls, options: TableOptions, reading: Reading) -> LabelledPictures:
        """Return the pictures as a task."""
        path = reading.find(options.path)
        root = reading.find(options.images) if options.images else path.parent
        rows = list(_rows(path, options))
        classes = tuple(sorted({label for _, label, _ in rows}, key=_order))
        codes = {name: code for code, name in enumerate(classes)}
        files: dict[str, int] = {}
        items = [files.setdefault(image, len(files)) for image, _, _ in rows]
        missing = [image for image in files if not (root / image).is_file()]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise FileNotFoundError(f"{path.name} names '{missing[0]}'{more}, not to be found in {root}.")
        made = LabelledPictures(
            classes=classes,
            pictures=PictureFiles(paths=tuple(root / image for image in files)),
            items=np.array(items, dtype=np.int64),
            labels=np.array([codes[label] for _, label, _ in rows], dtype=np.int64),
            groups=tuple(group for _, _, group in rows),
            facts=f"{path.name}, {options.label}: {len(rows)} rows",
        )
        return of_enough_classes(made, least=options.least)


def _rows(path: Path, options: TableOptions) -> Iterator[tuple[str, str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        wanted = [column for column in (options.image, options.label, options.group) if column]
        absent = [column for column in wanted if column not in (reader.fieldnames or ())]
        if absent:
            known = ", ".join(reader.fieldnames or ()) or "none"
            raise ValueError(f"{path.name} has no column {', '.join(map(repr, absent))}. Its columns: {known}.")
        for row in reader:
            image, label = (row[options.image] or "").strip(), (row[options.label] or "").strip()
            if image and label:
                yield image, label, (row[options.group] or "").strip() if options.group else image


def _order(name: str) -> tuple[float, str]:
    try:
        return float(name), name
    except ValueError:
        return float("inf"), name
