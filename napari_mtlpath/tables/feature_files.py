"""Whether the cohort's feature files are there and of one length, without reading what they hold."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath

import h5py

from napari_mtlpath.tables.problems import Problems
from napari_mtlpath.tables.rules import TableRules

DATASETS = ("feats", "features")
"""Where STAMP, TRIDENT and CLAM keep embeddings."""

SUFFIX = ".h5"


def feature_file(folder: Path, slide: str) -> Path | None:
    """Return the feature file of a slide; None where there is none.

    Looked up as ``NAME`` (where it ends in ``.h5``), ``NAME.h5`` and the name with ``.h5`` for its own suffix, in this
    order: names such as ``TCGA-AA-3842-01Z-00-DX1.4b7c`` have a dot but no suffix.

    Parameters
    ----------
    folder
        Where feature files lie.
    slide
        The slide's file name as a table has it, with or without suffix, possibly below a subfolder.
    """
    if leads_out(slide):
        return None
    plain = folder / slide
    names = [plain.with_name(plain.name + SUFFIX), plain.with_suffix(SUFFIX)]
    if plain.suffix.lower() == SUFFIX:
        names.insert(0, plain)
    return next((name for name in names if name.is_file()), None)


def leads_out(name: str) -> bool:
    r"""Whether a file name is absolute, leads out of its folder, or holds what no file name may.

    Examples
    --------
    >>> [leads_out(name) for name in ("a.svs", "batch 1/a.svs", "../a.svs", "/a.svs", "C:\\a.svs")]
    [False, False, True, True, True]
    """
    windows = PureWindowsPath(name)
    absolute = PurePosixPath(name).is_absolute() or bool(windows.drive) or bool(windows.root)
    return absolute or ".." in windows.parts or "\x00" in name or not windows.name


def check_feature_files(
    slides: Mapping[str, int], folder: Path, *, file: str, rules: TableRules, problems: Problems
) -> None:
    """Report slides whose feature file is missing, damaged, empty, of another length, or that of another slide.

    Parameters
    ----------
    slides
        File names of the slides and their rows in the table.
    folder
        Where feature files lie.
    file
        Name of the table.
    rules, problems
        How to read the table, and where sentences go.
    """
    if not folder.is_dir():
        problems.fault(file, f"expected a folder of feature files at {folder}; found none.")
        return
    lengths: dict[str, int] = {}
    owners: dict[Path, str] = {}
    for slide, row in slides.items():
        fault = partial(problems.fault, file, row=row, column=rules.filename_column)
        path = feature_file(folder, slide)
        if path is None:
            fault(f"slide {slide!r} has no feature file in {folder}: extract it first.")
            continue
        if path in owners:
            fault(f"slides {owners[path]!r} and {slide!r} have the same feature file {path.name}.")
            continue
        owners[path] = slide
        found = _shape(path)
        if isinstance(found, str):
            fault(f"feature file {path.name} {found}")
        else:
            lengths[slide] = found[1]
    _check_lengths(lengths, slides, file=file, rules=rules, problems=problems)


def _check_lengths(
    lengths: Mapping[str, int], slides: Mapping[str, int], *, file: str, rules: TableRules, problems: Problems
) -> None:
    if not lengths:
        return
    expected = rules.feature_length or Counter(lengths.values()).most_common(1)[0][0]
    why = "as asked for" if rules.feature_length else "as most files of the cohort have"
    for slide, length in lengths.items():
        if length != expected:
            message = f"expected embeddings of length {expected}, {why}; those of slide {slide!r} have {length}."
            problems.fault(file, message, row=slides[slide], column=rules.filename_column)


def _shape(path: Path) -> tuple[int, int] | str:
    """Return the number of tiles and the length of their embeddings, or what is wrong."""
    try:
        with h5py.File(path, "r") as opened:
            found = next((opened[name] for name in DATASETS if isinstance(opened.get(name), h5py.Dataset)), None)
            if found is None:
                return f"holds no dataset {' or '.join(DATASETS)}: extract it anew."
            shape = found.shape[1:] if len(found.shape) == 3 and found.shape[0] == 1 else found.shape
    except (OSError, RuntimeError, KeyError):
        return "cannot be read as HDF5: it is damaged or of another kind. Extract it anew."
    if len(shape) != 2:
        return f"holds an array of shape {list(shape)}; expected [tile, feature]. Extract it anew."
    if shape[0] == 0:
        return "holds no tile: look at the slide, and leave it out if it has no tissue."
    return int(shape[0]), int(shape[1])
