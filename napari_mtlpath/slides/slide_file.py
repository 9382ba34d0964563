"""The file of a slide that a table names with or without its suffix."""

from pathlib import Path

SLIDE_SUFFIXES = frozenset(
    {".svs", ".tif", ".tiff", ".ndpi", ".scn", ".bif", ".mrxs", ".vms", ".vmu", ".svslide", ".czi", ".dcm"}
)
"""Files of a folder that are taken for slides."""

FEATURES_SUFFIX = ".h5"


def slide_file(folder: Path, name: str) -> Path | None:
    """Return the file of a slide that a table names; None where there is none, or several.

    A name that ends in ``.h5`` means the slide whose features the file holds.
    """
    path = folder / name
    if path.suffix.lower() != FEATURES_SUFFIX and path.is_file():
        return path
    bare = path.with_suffix("") if path.suffix.lower() == FEATURES_SUFFIX else path
    found = [bare.with_name(bare.name + suffix) for suffix in sorted(SLIDE_SUFFIXES)]
    there = [candidate for candidate in found if candidate.is_file()]
    return there[0] if len(there) == 1 else None
