"""Labels and cached embeddings -> what a model is taught from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.features.key import FeatureKey
from napari_mtlpath.review.task_draft import TaskDraft
from napari_mtlpath.review.tile_labels import Labels
from napari_mtlpath.tasks import UNKNOWN_LABEL
from napari_mtlpath.tiles.grid import TileGrid

if TYPE_CHECKING:
    from napari_mtlpath.features.store import FeatureStore
    from napari_mtlpath.training.teaching.lesson import Lesson, TaughtBag


@dataclass(frozen=True, kw_only=True)
class LabelledSlide:
    """A slide with labels, whether it is open or not.

    Attributes
    ----------
    name, fingerprint
        The file's name, and what identifies its content.
    grid, key
        The model's tiles on it, and under which their embeddings are kept.
    labels
        For the task.
    """

    name: str
    fingerprint: str
    grid: TileGrid
    key: FeatureKey
    labels: Labels


def lesson_from(
    draft: TaskDraft, slides: Sequence[LabelledSlide], store: "FeatureStore"
) -> "tuple[Lesson, tuple[str, ...]]":
    """Return what a model is taught from, and a sentence about every label that has no embedding. Reads files.

    Parameters
    ----------
    draft
        The task.
    slides
        Slides with labels for it.
    store
        Embeddings on disk.

    Raises
    ------
    ValueError
        If no labelled tile or slide has embeddings.
    """
    from napari_mtlpath.training.teaching.lesson import Lesson

    bags, notes = [], []
    for slide in slides:
        if not slide.labels.tiles and slide.labels.slide is None:
            continue
        indices, features = store.get(slide.key)
        missing = len(slide.labels.tiles) - int(np.isin(indices, list(slide.labels.tiles)).sum())
        if len(indices) == 0:
            notes.append(
                f"Slide {slide.name!r} has labels but no tile that this model's encoder has seen: it is left out. "
                "Open it with this model and let the analysis run."
            )
            continue
        if missing:
            notes.append(
                f"{missing} labelled tiles of {slide.name!r} were not analysed yet and are left out. "
                "Let the analysis go on, then start again."
            )
        bags.append(_bag(slide, indices, features))
    if not bags:
        hint = " ".join(notes) or "Label some tiles first."
        raise ValueError(f"There is nothing yet to teach task {draft.shown!r} from. {hint}")
    return Lesson(task=draft.task, bags=tuple(bags)), tuple(notes)


def _bag(slide: LabelledSlide, indices: NDArray[np.int64], features: NDArray[np.float32]) -> "TaughtBag":
    from napari_mtlpath.training.teaching.lesson import TaughtBag

    labels = slide.labels
    origins = Counter(str(labels.tiles[index].origin) for index in indices.tolist() if index in labels.tiles)
    if labels.slide is not None:
        origins[str(labels.slide_origin)] += 1
    return TaughtBag(
        name=slide.name,
        fingerprint=slide.fingerprint,
        features=features,
        positions=np.stack(np.divmod(indices, slide.grid.columns), axis=-1),
        tile_labels=labels.values(indices),
        label=labels.slide if labels.slide is not None else UNKNOWN_LABEL,
        origins=dict(origins),
        centres_um=slide.grid.centres_um(indices),
        numbers=indices,
        grid=slide.key.tiles,
    )
