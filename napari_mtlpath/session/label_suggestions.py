"""The tiles of the open slide that a user should label next."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.review.suggest import suggest
from napari_mtlpath.review.task_draft import TaskKind
from napari_mtlpath.session.labelling import NO_PLACE

if TYPE_CHECKING:
    from napari_mtlpath.review.task_draft import TaskDraft
    from napari_mtlpath.session.label_place import LabelPlace
    from napari_mtlpath.session.session import Session


def suggested_tiles(session: "Session", *, count: int, seed: int) -> NDArray[np.int64]:
    """Return tiles to label next, the one to ask about first in front. Reads embeddings: call it from a worker.

    Where the model, or the one being taught, already answers the task tile by tile, its doubts count; before that,
    those of a quick classifier on the labels so far.

    Raises
    ------
    ValueError
        If there is no place, or no tile was analysed yet.
    """
    labels = session.labels
    draft, place = labels.task, labels.place
    if place is None or draft is None:
        raise ValueError(NO_PLACE)
    indices, features = session.store.get(place.key)
    seen = place.tissue.ravel()[indices]
    indices, features = indices[seen], features[seen]
    if len(indices) == 0:
        raise ValueError("No tile of this slide was analysed yet, so none can be suggested. Wait for the first ones.")
    values = labels.labels_at(place).values(indices)
    rows = suggest(features, values, count=count, seed=seed, scores=_scores(session, draft, place, indices))
    return indices[rows]


def _scores(
    session: "Session", draft: "TaskDraft", place: "LabelPlace", indices: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Return the model's answers for tiles of a binary task, or None where it has none."""
    from napari_mtlpath.inference.heatmap import HeatmapKind  # imports torch, which is there once there is a model

    result = session.result
    if result is None or draft.kind is not TaskKind.BINARY or result.slide_fingerprint != place.fingerprint:
        return None
    heatmap = result.heatmaps.get((draft.name, HeatmapKind.PREDICTION))
    if heatmap is None or heatmap.values.size != len(place.grid):
        return None
    scores = heatmap.values.ravel()[indices].astype(np.float64)
    return scores if np.isfinite(scores).any() else None
