"""From embeddings to answers: the one path that the viewer and the command line share, so that numbers agree."""

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.evaluation.class_sets import read_class_sets
from napari_mtlpath.inference.calibration import calibrated
from napari_mtlpath.inference.heatmap import heatmaps_of, mask_on_grid
from napari_mtlpath.inference.inputs import AnalysedSlide, AnalysisModel
from napari_mtlpath.inference.probabilities import sigmoid, softmax
from napari_mtlpath.inference.results import PossibleClasses, Scope, SlideResult, TaskResult, ValueWord
from napari_mtlpath.nn.answers import BagAnswer
from napari_mtlpath.tasks import Classification, Regression, Task
from napari_mtlpath.tiles.grid import TileGrid


def aggregate(
    model: AnalysisModel,
    indices: NDArray[np.integer],
    features: NDArray[np.float32],
    grid: TileGrid,
    total: int,
    *,
    slide: AnalysedSlide,
    unreadable: int = 0,
) -> SlideResult:
    """Let a model judge the tiles known so far.

    The bag is put in ascending order of tile index first: sums of floating-point numbers depend on their order, and
    the viewer learns its tiles in another order than the command line.

    Parameters
    ----------
    model
        The model.
    indices
        Tiles known, [tile], at least one.
    features
        Their embeddings, [tile, feature].
    grid
        The tiles.
    total
        Number of tissue tiles on the slide.
    slide
        Which slide it is.
    unreadable
        Tissue tiles that could not be read.

    Raises
    ------
    ValueError
        If there is no tile, or an answer is not finite.
    """
    if len(indices) == 0:
        raise ValueError("A model needs at least one tile; found none. Is there a readable tile on the tissue?")
    ascending = np.argsort(indices, kind="stable")
    indices, features = indices[ascending], features[ascending]
    output = model.answer_bag(np.ascontiguousarray(features, np.float32), grid.centres_um(indices).astype(np.float32))
    complete = len(indices) + unreadable >= total
    answers = tuple(_task_result(model, task, output, complete=complete) for task in model.tasks)
    return SlideResult(
        tasks=answers,
        tiles_known=len(indices),
        tiles_total=total,
        unreadable=unreadable,
        complete=complete,
        model_name=model.card.name,
        model_digest=model.digest,
        slide_name=slide.name,
        slide_fingerprint=slide.fingerprint,
        heatmaps={
            (heatmap.task, heatmap.kind): heatmap
            for heatmap in heatmaps_of(output, indices, grid, tasks=model.tasks, without_tile_answers=_unjudged(model))
        },
        selected={
            name: mask_on_grid(answer.selected, indices, grid)
            for name, answer in output.tasks.items()
            if answer.selected is not None
        },
    )


def _unjudged(model: AnalysisModel) -> frozenset[str]:
    """Return the tasks whose answers tile by tile nobody has judged: they learned from whole slides alone."""
    if not model.card.slide_labels_only:
        return frozenset()
    return frozenset(task.name for task in model.tasks).difference(model.card.tile_labels)


def _task_result(model: AnalysisModel, task: Task, output: BagAnswer, *, complete: bool) -> TaskResult:
    logits = output.tasks[task.name].logits
    if not np.isfinite(logits).all():
        raise ValueError(f"Model {model.card.name!r} gave no finite answer to task {task.name!r}. Check its weights.")
    scope = Scope.TILES if task.name in model.card.tile_tasks else Scope.SLIDE
    if isinstance(task, Regression):
        word = ValueWord.VALUE
        return TaskResult(task=task, value=float(logits[0]), class_values=(), calibrated=False, word=word, scope=scope)
    parameters = model.card.calibration.get(task.name)
    logits = calibrated(logits, parameters)
    if task.is_binary:
        positive = float(sigmoid(logits[:1])[0])
        value, class_values = positive, (1.0 - positive, positive)
    else:
        value, class_values = None, tuple(softmax(logits).tolist())
    return TaskResult(
        task=task,
        value=value,
        class_values=class_values,
        calibrated=bool(parameters),
        # The calibration was fitted on whole slides: on a part of one it promises nothing.
        word=ValueWord.PROBABILITY if parameters and complete else ValueWord.SCORE,
        possible=_possible(model, task, class_values) if complete else None,
        scope=scope,
    )


def _possible(model: AnalysisModel, task: Classification, class_values: tuple[float, ...]) -> PossibleClasses | None:
    table = model.card.conformal.get(task.name)
    if not table:
        return None
    sets = read_class_sets(table, classes=len(task.classes))
    inside = sets.sets(np.array([class_values], dtype=np.float64))[0]
    names = tuple(name for name, possible in zip(task.classes, inside.tolist(), strict=True) if possible)
    return PossibleClasses(names=names, coverage=sets.coverage)
