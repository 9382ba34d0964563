"""A folder with one folder of pictures per class."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_mtlpath.training.pool.converter import Converter, LabelledPictures, Reading, of_enough_classes
from napari_mtlpath.training.pool.pictures import IMAGE_SUFFIXES, PictureFiles


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """Where the pictures lie, and which belong together.

    Attributes
    ----------
    path
        A folder; the folders in it are the classes, in the order of their names.
    group
        A regular expression whose first bracket, or whole match, in a picture's file name names its patient, slide or
        image; empty where every picture stands alone.
    least
        Classes of fewer pictures are left out.
    """

    path: str
    group: str = ""
    least: int = 2


class Folder(Converter):
    """Pictures sorted into folders by class."""

    options_kind = FolderOptions

    @classmethod
    def convert(cls, options: FolderOptions, reading: Reading) -> LabelledPictures:
        """Return the pictures as a task."""
        root = reading.find(options.path)
        classes = tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir()))
        found = [
            (path, code)
            for code, name in enumerate(classes)
            for path in sorted((root / name).rglob("*"))
            if path.suffix.lower() in IMAGE_SUFFIXES
        ]
        made = LabelledPictures(
            classes=classes,
            pictures=PictureFiles(paths=tuple(path for path, _ in found)),
            items=np.arange(len(found)),
            labels=np.array([code for _, code in found], dtype=np.int64),
            groups=tuple(_group(path.relative_to(root), options.group) for path, _ in found),
            facts=f"{root.name}: {len(found)} pictures in {len(classes)} folders",
        )
        return of_enough_classes(made, least=options.least)


def _group(path: Path, pattern: str) -> str:
    if not pattern:
        return path.as_posix()
    found = re.search(pattern, path.name)
    if found is None:
        raise ValueError(
            f"The pattern {pattern!r} of 'group' is not in the file name {path.name!r}. "
            "Correct it, or leave it out where every picture stands alone."
        )
    return found.group(1) if found.re.groups else found.group(0)
