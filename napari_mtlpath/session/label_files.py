"""Labels from files and to files: QuPath's GeoJSON for the open slide, a cohort table for many slides."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mtlpath.review.events import Origin, SlideLabelled, SlideSeen
from napari_mtlpath.review.geojson_labels import labels_from
from napari_mtlpath.review.geojson_read import read_geojson
from napari_mtlpath.review.geojson_write import write_geojson
from napari_mtlpath.session.label_place import slide_seen
from napari_mtlpath.session.labelling import NO_PLACE, NO_TASK
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.slide import Slide

if TYPE_CHECKING:
    from napari_mtlpath.review.task_draft import TaskDraft
    from napari_mtlpath.session.label_place import LabelPlace
    from napari_mtlpath.session.labelling import Labelling
    from napari_mtlpath.session.session import Session

MOST_NAMES = 4
"""Names of slides that a sentence lists before it only counts."""


def import_geojson(labels: "Labelling", path: Path) -> str:
    """Take the regions and tiles of a file as labels of the open slide; one act, undone as one. Reads the file.

    Returns
    -------
    What came of it, in sentences.

    Raises
    ------
    ValueError, OSError
        If nothing in the file can be used; one sentence says why, and no label is changed.
    """
    draft, place = _asked(labels)
    found = labels_from(read_geojson(path), draft, place.grid, fingerprint=place.fingerprint)
    labels.record(place, found.act)
    number = " and ".join(
        words for words in (_number(found.regions, "region"), _number(found.tiles, "single tile")) if words
    )
    return " ".join((f"{path.name}: {number or 'the label of the slide'} imported.", *found.notes))


def export_geojson(labels: "Labelling", path: Path) -> str:
    """Write the open slide's labels for the task; QuPath opens the file. Returns what was written, as a sentence."""
    draft, place = _asked(labels)
    known = labels.labels_at(place)
    if not known.tiles and not known.regions and known.slide is None:
        raise ValueError(f"There is no label for {draft.shown!r} on this slide yet: nothing was written.")
    write_geojson(path, known, draft, place.grid, slide=place.slide.name, fingerprint=place.fingerprint)
    return f"{_number(len(known.tiles), 'labelled tile') or 'No tile'} written to {path.name}."


def import_table(session: "Session", path: Path) -> str:
    """Take a cohort table's column for the task as labels of whole slides. Reads the table, and slides beside it.

    A slide is found by its file name among those that were open here before, then beside the table and beside the open
    slide. Its features must be in the store: it was opened with this model, or `mtlpath extract` saw it.

    Returns
    -------
    What came of it, in sentences.

    Raises
    ------
    ValueError, OSError
        If the table has faults, or names no slide that is known; no label is changed then.
    """
    from napari_mtlpath.tables.read import read_cohort

    labels = session.labels
    draft = labels.task
    if draft is None:
        raise ValueError(NO_TASK)
    cohort = read_cohort(path, tasks=[draft.task])
    wanted = {file: patient.labels[0] for file, patient in cohort.slides if not math.isnan(patient.labels[0])}
    if not wanted:
        raise ValueError(f"{path.name} has no label in its column {draft.name!r}: every cell is empty.")
    folders = [path.parent, *([Path(session.slide.path).parent] if session.slide is not None else [])]
    known, unknown = _matched(wanted, labels.slides_seen(), folders)
    if not known:
        raise ValueError(
            f"None of the {len(wanted)} slides in {path.name} was ever open here or lies beside the table "
            f"({_listed(unknown)}). Open them once with this model, or put the table beside them."
        )
    for file, (fingerprint, seen) in known.items():
        acts = [SlideLabelled(value=draft.check(wanted[file]), origin=Origin.TABLE)]
        labels.record_for(fingerprint, [*([seen] if seen is not None else []), *acts])
    left = f" Left out, because never open here and not beside the table: {_listed(unknown)}."
    return f"{path.name}: {_number(len(known), 'slide')} labelled." + (left if unknown else "")


def _asked(labels: "Labelling") -> "tuple[TaskDraft, LabelPlace]":
    draft, place = labels.task, labels.place
    if place is None:
        raise ValueError(NO_PLACE)
    if draft is None:
        raise ValueError(NO_TASK)
    return draft, place


def _matched(
    files: Mapping[str, float], seen: Mapping[str, SlideSeen], folders: list[Path]
) -> tuple[dict[str, tuple[str, SlideSeen | None]], list[str]]:
    """Return the fingerprint of each slide that is known, with what it is where that is new, and the other names."""
    by_name = {act.name: fingerprint for fingerprint, act in seen.items()}
    by_name |= {Path(name).stem: fingerprint for name, fingerprint in by_name.items() if Path(name).stem not in by_name}
    found: dict[str, tuple[str, SlideSeen | None]] = {}
    for file in files:
        name = Path(file).name
        fingerprint = by_name.get(name) or by_name.get(Path(name).stem)
        if fingerprint is not None:
            found[file] = (fingerprint, None)
        elif (looked_at := _look_at(file, folders)) is not None:
            found[file] = looked_at
    return found, [file for file in files if file not in found]


def _look_at(file: str, folders: list[Path]) -> tuple[str, SlideSeen] | None:
    """Return what a slide beside the table is, or None where there is none that can be used."""
    path = next((folder / file for folder in folders if (folder / file).is_file()), None)
    if path is None:
        return None
    try:
        slide = open_slide(path)
    except (OSError, ValueError):
        return None
    try:
        return (slide.fingerprint, seen) if (seen := _seen(slide)) is not None else None
    finally:
        slide.close()


def _seen(slide: Slide) -> SlideSeen | None:
    mpp = slide.resolution.mpp
    return None if mpp is None else slide_seen(slide, mpp=mpp)


def _number(count: int, noun: str) -> str:
    """Return a number of things in words; nothing for none."""
    return "" if count == 0 else f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(map(repr, names[:MOST_NAMES])) + (f" and {more} more" if more > 0 else "")
