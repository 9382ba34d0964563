"""Labels, slides and feature files of a task -> a lesson, the one that the viewer would make of the same labels."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mtlpath.review.events import LabelEvent, Origin, SlideLabelled, SlideSeen
from napari_mtlpath.review.geojson_labels import labels_from
from napari_mtlpath.review.geojson_read import AnnotationFile, read_geojson
from napari_mtlpath.review.task_draft import TaskDraft
from napari_mtlpath.review.tile_labels import labels_of

if TYPE_CHECKING:
    from napari_mtlpath.features.store import FeatureStore
    from napari_mtlpath.session.label_lesson import LabelledSlide
    from napari_mtlpath.slides.slide import Slide
    from napari_mtlpath.training.teaching.lesson import Lesson, TaughtBag
    from napari_mtlpath.zoo.model import SlideModel

GEOJSON = frozenset({".geojson", ".json"})
TABLES = frozenset({".csv", ".xlsx"})

Told = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class LessonFiles:
    """What the user named.

    Attributes
    ----------
    labels
        GeoJSON files and cohort tables.
    slides
        Slide files.
    features
        Folder of feature files, for slides of a table that are not named; None where there is none.
    mpp
        Microns per pixel of slides that do not say, or None.
    """

    labels: tuple[Path, ...]
    slides: tuple[Path, ...]
    features: Path | None
    mpp: float | None


def lesson_of_files(
    files: LessonFiles, draft: TaskDraft, model: "SlideModel", store: "FeatureStore", *, tell: Told
) -> "Lesson":
    """Read labels, let the model's encoder see the slides where it has not yet, and return the lesson.

    Parameters
    ----------
    files, draft
        What the user named, and the task.
    model, store
        Whose embeddings, and where they are kept.
    tell
        Takes sentences about what is going on and what was left out.

    Raises
    ------
    ValueError, OSError
        If a file cannot be used, labels fit no slide, or there is nothing to teach from.
    """
    from napari_mtlpath.session.label_lesson import lesson_from

    annotations, tables = _sorted(files)
    wanted = _table_labels(tables, draft)
    pairs = _paired(annotations, files.slides)
    labelled = [
        _labelled(path, pairs.get(path, []), wanted, files, draft, model, store, tell=tell)
        for path in files.slides
        if path in pairs or _named(path, wanted)
    ]
    left = [name for name in wanted if not any(_is(path, name) for path in files.slides)]
    bags = [_bag_of_file(name, wanted[name], files.features, model) for name in left] if files.features else []
    if left and not files.features:
        listed = ", ".join(map(repr, left[:4])) + (f" and {len(left) - 4} more" if len(left) > 4 else "")
        raise ValueError(
            f"The table names slides that are not here: {listed}. Name their files with --slides, or the folder of "
            "their feature files with --features."
        )
    if not labelled:
        return _lesson(draft, bags)
    lesson, notes = lesson_from(draft, labelled, store)
    for note in notes:
        tell(note)
    return _lesson(draft, [*lesson.bags, *bags])


def slides_seen(files: "Sequence[LessonFiles]") -> "dict[str, SlideSeen]":
    """Return where each slide lies that was named, or was open in the viewer once, by fingerprint. Opens slides."""
    from napari_mtlpath.review.journal import Journal
    from napari_mtlpath.session.label_place import slide_seen
    from napari_mtlpath.slides.open import open_slide
    from napari_mtlpath.slides.resolution import ResolutionMemory

    journal = Journal()
    acts = {entry.event.slide: entry.event.act for entry in journal.read(what="seen")}
    journal.close()
    found = {fingerprint: act for fingerprint, act in acts.items() if isinstance(act, SlideSeen)}
    for path, mpp in dict.fromkeys((path, each.mpp) for each in files for path in each.slides):
        slide = open_slide(path, mpp=mpp, memory=ResolutionMemory())
        if slide.resolution.mpp is not None:
            found[slide.fingerprint] = slide_seen(slide, mpp=slide.resolution.mpp)
        slide.close()
    return found


def _lesson(draft: TaskDraft, bags: "Sequence[TaughtBag]") -> "Lesson":
    from napari_mtlpath.training.teaching.lesson import Lesson

    if not bags:
        raise ValueError(f"There is nothing to teach task {draft.shown!r} from: no label fits any slide.")
    return Lesson(task=draft.task, bags=tuple(bags))


def _sorted(files: LessonFiles) -> tuple[list[tuple[Path, AnnotationFile]], list[Path]]:
    strange = [path for path in files.labels if path.suffix.lower() not in GEOJSON | TABLES]
    if strange:
        raise ValueError(
            f"Labels come from GeoJSON (.geojson, .json) or tables (.csv, .xlsx); found {strange[0].name!r}. "
            "Export the labels in one of these."
        )
    annotations = [(path, read_geojson(path)) for path in files.labels if path.suffix.lower() in GEOJSON]
    if annotations and not files.slides:
        raise ValueError(f"{annotations[0][0].name} labels places on a slide. Name the slide's file with --slides.")
    return annotations, [path for path in files.labels if path.suffix.lower() in TABLES]


def _table_labels(tables: Sequence[Path], draft: TaskDraft) -> dict[str, float]:
    """Return the label of every slide that a table gives one, by file name."""
    from napari_mtlpath.tables.read import read_cohort

    found: dict[str, float] = {}
    for path in tables:
        cohort = read_cohort(path, tasks=[draft.task])
        found |= {file: patient.labels[0] for file, patient in cohort.slides if not math.isnan(patient.labels[0])}
    if tables and not found:
        raise ValueError(f"{tables[0].name} has no label in its column {draft.name!r}: every cell is empty.")
    return found


def _paired(
    annotations: Sequence[tuple[Path, AnnotationFile]], slides: Sequence[Path]
) -> dict[Path, list[AnnotationFile]]:
    """Give each file of annotations its slide: the only one, the one that it names, or the one of its own name."""
    pairs: dict[Path, list[AnnotationFile]] = {}
    for path, file in annotations:
        written_for = file.about.get("slide")
        fitting = [slide for slide in slides if written_for == slide.name] or [
            slide for slide in slides if path.name.split(".")[0] == slide.name.split(".")[0]
        ]
        fitting = fitting or list(slides if len(slides) == 1 else [])
        if len(fitting) != 1:
            raise ValueError(
                f"Which slide do the labels {path.name!r} belong to? Call the file like its slide, such as "
                f"{slides[0].with_suffix('.geojson').name!r} for {slides[0].name!r}."
            )
        pairs.setdefault(fitting[0], []).append(file)
    return pairs


def _labelled(
    path: Path,
    annotations: Sequence[AnnotationFile],
    wanted: dict[str, float],
    files: LessonFiles,
    draft: TaskDraft,
    model: "SlideModel",
    store: "FeatureStore",
    *,
    tell: Told,
) -> "LabelledSlide":
    """Return a slide's labels on the model's tiles, after the encoder has seen all of them."""
    from napari_mtlpath.inference.plan import grid_for, key_for
    from napari_mtlpath.session.label_lesson import LabelledSlide
    from napari_mtlpath.slides.open import open_slide
    from napari_mtlpath.slides.resolution import ResolutionMemory, require_resolution

    slide = open_slide(path, mpp=files.mpp, memory=ResolutionMemory())
    try:
        require_resolution(slide.resolution, slide=slide.name)
        grid = grid_for(slide, model)
        imports = [labels_from(each, draft, grid, fingerprint=slide.fingerprint) for each in annotations]
        for note in (note for each in imports for note in each.notes):
            tell(f"{slide.name}: {note}")
        acts = [each.act for each in imports]
        events = [LabelEvent(slide=slide.fingerprint, task=draft.name, act=act) for act in acts]
        label = _named(path, wanted)
        if label is not None:
            act = SlideLabelled(value=draft.check(label), origin=Origin.TABLE)
            events.append(LabelEvent(slide=slide.fingerprint, task=draft.name, act=act))
        labels = labels_of(events, grid)
        if labels.contradicted:
            tell(f"{slide.name}: {len(labels.contradicted)} tiles have different labels; the last one holds.")
        _see(slide, model, store, tell)
        return LabelledSlide(
            name=slide.name,
            fingerprint=slide.fingerprint,
            grid=grid,
            key=key_for(slide, model, grid),
            labels=labels,
        )
    finally:
        slide.close()


def _see(slide: "Slide", model: "SlideModel", store: "FeatureStore", tell: Told) -> None:
    """Encode what the store lacks of a slide."""
    from napari_mtlpath.inference.stream import embed_slide

    said = False
    for report in embed_slide(slide, model, store=store):
        if not said and report.tiles_known < report.tiles_total:
            tell(f"{slide.name}: {report.tiles_total} tiles go through the encoder.")
            said = True


def _bag_of_file(name: str, label: float, folder: Path, model: "SlideModel") -> "TaughtBag":
    """Return the bag of a slide of which only the feature file is here."""
    import numpy as np

    from napari_mtlpath.features.h5 import LengthUnit, read_features
    from napari_mtlpath.tables.feature_files import feature_file
    from napari_mtlpath.training.teaching.lesson import TaughtBag

    path = feature_file(folder, name)
    if path is None:
        raise ValueError(f"Expected the features of slide {name!r} in {folder}; found no such .h5 file.")
    file = read_features(path)
    _, rows = np.unique(file.coords[:, 0], return_inverse=True)
    _, columns = np.unique(file.coords[:, 1], return_inverse=True)
    known = file.unit is LengthUnit.MICRONS and file.tile_side is not None
    return TaughtBag(
        name=name,
        fingerprint=hashlib.sha256(np.ascontiguousarray(file.features).tobytes()).hexdigest(),
        features=file.features,
        positions=np.stack([rows, columns], axis=1),
        tile_labels=np.full(len(file.features), np.nan),
        label=label,
        origins={str(Origin.TABLE): 1},
        centres_um=file.coords + float(file.tile_side or 0.0) / 2 if known else None,
    )


def _named(path: Path, wanted: dict[str, float]) -> float | None:
    return next((label for name, label in wanted.items() if _is(path, name)), None)


def _is(path: Path, name: str) -> bool:
    """Whether a table's name means this file: with its suffix, or without."""
    return Path(name).name in (path.name, path.stem)
