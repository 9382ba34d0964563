"""Annotations -> labels of one task on one slide: classes matched by name, tiles by place, the rest said in words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_mtlpath.review.events import Imported, Origin, RegionDrawn, SlideLabelled, TilesLabelled
from napari_mtlpath.review.geojson_read import Annotation, AnnotationFile, GeoJsonError
from napari_mtlpath.review.regions import outside_share
from napari_mtlpath.review.task_draft import TaskDraft, TaskKind
from napari_mtlpath.tiles.grid import TileGrid

MOST_OUTSIDE = 0.05
"""Corners outside of the slide beyond which the file belongs to another slide, level or unit (RFC 7946 knows none)."""

SLIDE_LABEL, WITHDRAWN = "slide_label", "tiles_taken_back"
"""Members of our own part of a file: the whole slide's label, and corners (y, x) of tiles without one."""

MOST_NAMES = 5


@dataclass(frozen=True, kw_only=True)
class LabelImport:
    """What a file contributes.

    Attributes
    ----------
    act
        One act, undone as one.
    notes
        What was left out, one sentence each.
    tiles, regions
        How many of each.
    """

    act: Imported
    notes: tuple[str, ...]
    tiles: int
    regions: int


def labels_from(file: AnnotationFile, draft: TaskDraft, grid: TileGrid, *, fingerprint: str = "") -> LabelImport:
    """Match a file's objects with a task and a slide.

    An object counts by the name of its class, capitals aside; a class called like a binary task itself is its
    positive class. For a regression the number stands in the measurement that is called like the task.

    Parameters
    ----------
    file
        As :func:`napari_mtlpath.review.geojson_read.read_geojson` returned it.
    draft
        The task.
    grid
        The model's tiles on the slide.
    fingerprint
        Of the slide; a file that this program wrote for another slide is refused. Empty: not checked.

    Raises
    ------
    GeoJsonError
        If the file belongs to another slide, or no object is an answer of the task.
    """
    _check_slide(file, grid, fingerprint)
    unknown: Counter[str] = Counter()
    tiles: dict[float, list[tuple[int, int]]] = {}
    regions: list[RegionDrawn] = []
    for number, annotation in enumerate(file.annotations):
        value = _value_of(annotation, draft)
        if value is None:
            unknown[annotation.label] += 1
            continue
        corner = _tile_at(annotation, grid)
        if corner is not None:
            tiles.setdefault(value, []).append(corner)
        else:
            key = annotation.key or f"{file.name}-{number}"
            regions.append(RegionDrawn(region=key, area=annotation.area, value=value, origin=Origin.FILE))
    acts: tuple[TilesLabelled | RegionDrawn | SlideLabelled, ...] = (
        *regions,
        *(
            TilesLabelled(corners=tuple(corners), side=grid.side, value=value, origin=Origin.FILE)
            for value, corners in tiles.items()
        ),
        *_taken_back(file, draft, grid),
        *_slide_label(file, draft),
    )
    notes = (*file.notes, *_unknown_words(unknown, draft))
    if not acts:
        raise GeoJsonError(f"{file.name} holds no label for task {draft.shown!r}. {' '.join(notes)}".rstrip())
    return LabelImport(
        act=Imported(acts=acts, file=file.name),
        notes=notes,
        tiles=sum(len(corners) for corners in tiles.values()),
        regions=len(regions),
    )


def _check_slide(file: AnnotationFile, grid: TileGrid, fingerprint: str) -> None:
    written_for = file.about.get("slide_fingerprint")
    if fingerprint and isinstance(written_for, str) and written_for != fingerprint:
        raise GeoJsonError(
            f"{file.name} was written for slide {file.about.get('slide', 'unknown')!r}, which is not the open one. "
            "Open that slide, or choose its own file."
        )
    if not file.annotations:
        return
    corners = np.array([sum(len(ring) for polygon in each.area for ring in polygon) for each in file.annotations])
    outside = np.array([outside_share(each.area, grid) for each in file.annotations])
    share = float((outside * corners).sum() / corners.sum())
    if share >= MOST_OUTSIDE:
        raise GeoJsonError(
            f"{share:.0%} of the corners in {file.name} lie outside of this slide ({grid.slide_width} x "
            f"{grid.slide_height} px). It belongs to another slide, or its numbers are no full-resolution pixels."
        )


def _value_of(annotation: Annotation, draft: TaskDraft) -> float | None:
    if draft.kind is TaskKind.REGRESSION:
        numbers = annotation.measurements
        value = numbers.get(draft.name, numbers.get(draft.title))
        return value if value is not None and draft.low <= value <= draft.high else None
    label = annotation.label.casefold()
    names = [name.casefold() for name in draft.classes]
    if label in names:
        return float(names.index(label))
    if draft.kind is TaskKind.BINARY and label and label in (draft.name.casefold(), draft.title.casefold()):
        return 1.0
    return None


def _tile_at(annotation: Annotation, grid: TileGrid) -> tuple[int, int] | None:
    """Return the corner of the grid's tile that an object is, or None where it is a region."""
    if not annotation.is_tile or len(annotation.area) != 1 or len(annotation.area[0]) != 1:
        return None
    corners = annotation.area[0][0]
    if len(corners) != 4:
        return None
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    y, x = round(float(low[0])), round(float(low[1]))
    expected = min(y + grid.side, grid.slide_height), min(x + grid.side, grid.slide_width)
    exact = np.allclose(low, (y, x), atol=0.01) and np.allclose(high, expected, atol=0.01)
    return (y, x) if exact and y % grid.side == 0 and x % grid.side == 0 else None


def _taken_back(file: AnnotationFile, draft: TaskDraft, grid: TileGrid) -> Sequence[TilesLabelled]:
    listed = file.about.get(WITHDRAWN)
    if file.about.get("task") != draft.name or not isinstance(listed, list):
        return ()
    corners = tuple(
        (int(pair[0]), int(pair[1]))
        for pair in listed
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, int) for part in pair)
    )
    return (TilesLabelled(corners=corners, side=grid.side, value=None, origin=Origin.FILE),) if corners else ()


def _slide_label(file: AnnotationFile, draft: TaskDraft) -> Sequence[SlideLabelled]:
    value = file.about.get(SLIDE_LABEL)
    if file.about.get("task") != draft.name or not isinstance(value, int | float):
        return ()
    try:
        return (SlideLabelled(value=draft.check(float(value)), origin=Origin.FILE),)
    except ValueError:
        return ()


def _unknown_words(unknown: Counter[str], draft: TaskDraft) -> tuple[str, ...]:
    if not unknown:
        return ()
    number = unknown.total()
    if draft.kind is TaskKind.REGRESSION:
        return (
            f"{number} objects have no measurement {draft.name!r} from {draft.low:g} to {draft.high:g} "
            "and were left out.",
        )
    names = sorted(repr(name) if name else "none" for name in unknown)
    listed = ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
    known = ", ".join(map(repr, draft.classes))
    return (f"{number} objects of the classes {listed} are no answers of this task ({known}) and were left out.",)
