"""Which slides a cohort has: those of a folder, of a pattern, or of a slide table."""

import glob
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath

from napari_mtlpath.slides.slide_file import SLIDE_SUFFIXES, slide_file
from napari_mtlpath.tables.feature_files import SUFFIX, leads_out
from napari_mtlpath.tables.labels import number_in
from napari_mtlpath.tables.problems import Problems, TableError, nearest
from napari_mtlpath.tables.sheet import Sheet, read_sheet

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".xlsx", ".xlsm"})
FILENAME_COLUMN = "FILENAME"
MPP_COLUMN = "MPP"
"""Microns per pixel of single slides, where their files do not say; an optional column of a slide table."""


@dataclass(frozen=True, kw_only=True)
class CohortSlide:
    """One slide to work on.

    Attributes
    ----------
    path
        The file.
    name
        As the table, or its path below the folder.
    target
        The feature file, relative to the output folder.
    mpp
        Microns per pixel as the table gives them, or None.
    """

    path: Path
    name: str
    target: PurePath
    mpp: float | None = None


def find_slides(cohort: str | Path, *, slides: Path | None = None) -> tuple[CohortSlide, ...]:
    """Return the slides of a cohort, in a fixed order.

    Parameters
    ----------
    cohort
        A folder (looked through with all its subfolders), a pattern such as ``"scans/*.svs"``, one slide, or a slide
        table (CSV or XLSX) with a column FILENAME and optionally MPP.
    slides
        Folder that the table's file names are relative to; None: the table's own folder.

    Raises
    ------
    FileNotFoundError
        If nothing is there, or no slide is found.
    TableError
        With everything that is wrong with the table, missing slides among it.
    """
    path = Path(cohort)
    if path.is_dir():
        if slides is not None:
            raise ValueError("A folder of slides needs no --slides: that says where the slides of a table lie.")
        return _checked(_below(path), f"no file below {path} looks like a slide ({', '.join(sorted(SLIDE_SUFFIXES))})")
    if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        return _from_table(path, slides if slides is not None else path.parent)
    if path.is_file():
        return _with_targets([(path, path.name, None)])
    names = sorted(glob.glob(str(cohort), recursive=True))  # noqa: PTH207  Path.glob refuses absolute patterns
    found = [Path(name) for name in names if Path(name).is_file()]
    return _checked(_with_targets([(file, file.name, None) for file in found]), f"no file fits {str(cohort)!r}")


def _below(folder: Path) -> tuple[CohortSlide, ...]:
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SLIDE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    return _with_targets([(path, path.relative_to(folder).as_posix(), None) for path in files])


def _from_table(table: Path, folder: Path) -> tuple[CohortSlide, ...]:
    problems = Problems()
    sheet = read_sheet(table, problems)
    problems.raise_faults()
    if sheet is None or FILENAME_COLUMN not in sheet.columns:
        known = sheet.columns if sheet is not None else ()
        problems.fault(table.name, f"there is no column {FILENAME_COLUMN!r}.{nearest(FILENAME_COLUMN, known)}")
        raise TableError(problems.faults)
    rows: dict[str, tuple[Path, str, float | None]] = {}
    for row, number in enumerate(sheet.numbers):
        fault = partial(problems.fault, sheet.file, row=number, column=FILENAME_COLUMN)
        name = sheet.text(row, FILENAME_COLUMN)
        if not sheet.check_cell(row, FILENAME_COLUMN, problems):
            continue
        if not name or leads_out(name):
            fault(f"expected a file name below {folder}; found {name!r}.")
        elif name in rows:
            fault(f"slide {name!r} stands in a row above already: keep one of the rows.")
        elif (path := slide_file(folder, name)) is None:
            fault(f"there is no slide {name!r} in {folder}: correct the name, or say where slides lie with --slides.")
        else:
            rows[name] = (path, name, _mpp(sheet, row, problems))
    problems.raise_faults()
    return _with_targets(rows.values())


def _mpp(sheet: Sheet, row: int, problems: Problems) -> float | None:
    if MPP_COLUMN not in sheet.columns or not sheet.check_cell(row, MPP_COLUMN, problems):
        return None
    text = sheet.text(row, MPP_COLUMN)
    value = number_in(text)
    if text and value is None:
        message = f"expected microns per pixel; found {text!r}."
        problems.fault(sheet.file, message, row=sheet.numbers[row], column=MPP_COLUMN)
    return value


def _with_targets(found: Iterable[tuple[Path, str, float | None]]) -> tuple[CohortSlide, ...]:
    """Give each slide its feature file: ``.h5`` in place of the suffix, or behind it where that is taken twice."""
    rows = list(found)
    short = [_target(name) for _, name, _ in rows]
    taken = Counter(str(target).casefold() for target in short)  # file systems may not tell a.h5 from A.h5
    targets = [
        target if taken[str(target).casefold()] == 1 else PurePath(name + SUFFIX)
        for target, (_, name, _) in zip(short, rows, strict=True)
    ]
    repeated = [target for target, count in Counter(str(target).casefold() for target in targets).items() if count > 1]
    if repeated:
        raise ValueError(
            f"Two slides would write the same feature file {repeated[0]!r}. Rename one, or give a folder or table that "
            "keeps their subfolders."
        )
    return tuple(
        CohortSlide(path=path.absolute(), name=name, target=target, mpp=mpp)
        for (path, name, mpp), target in zip(rows, targets, strict=True)
    )


def _target(name: str) -> PurePath:
    path = PurePath(name)
    known = path.suffix.lower() in SLIDE_SUFFIXES | {SUFFIX}
    return path.with_suffix(SUFFIX) if known else PurePath(name + SUFFIX)


def _checked(slides: tuple[CohortSlide, ...], otherwise: str) -> tuple[CohortSlide, ...]:
    if not slides:
        raise FileNotFoundError(f"Expected slides; {otherwise}. Give a folder, a pattern in quotes, or a slide table.")
    return slides
