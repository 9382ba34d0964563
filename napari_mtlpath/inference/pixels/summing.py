"""From windows to answers: the one path that the viewer and the command line share, so that numbers agree."""

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.heatmap import Heatmap, HeatmapKind
from napari_mtlpath.inference.inputs import AnalysedSlide
from napari_mtlpath.inference.pixels.inputs import AnsweringModel
from napari_mtlpath.inference.pixels.maps import PixelMaps
from napari_mtlpath.inference.pixels.painting import PixelPainting
from napari_mtlpath.inference.results import Scope, SlideResult, TaskResult, ValueWord
from napari_mtlpath.tasks import AnyTask, Classification, PixelRegression, Regression, Segmentation


def summed_up(
    model: AnsweringModel,
    maps: PixelMaps,
    total: int,
    *,
    slide: AnalysedSlide,
    unreadable: int = 0,
    attention: PixelMaps | None = None,
) -> SlideResult:
    """Return what a pixel model says about the tiles known so far.

    A segmentation is answered with the classes' shares of the area, a pixel regression with the mean over the pixels, a
    task asked of whole tiles with the mean over the tiles; none of them is a prediction for the slide.

    Parameters
    ----------
    model, maps
        Who answered what.
    total
        Number of tissue tiles on the slide.
    slide
        Which slide it is.
    unreadable
        Tissue tiles that could not be read.
    attention
        Maps of attention beside the answers; None where there are none.
    """
    known = int(maps.known.sum())
    heatmaps = {(task.name, HeatmapKind.PREDICTION): _per_tile(task, maps) for task in maps.planes.tile_tasks}
    return SlideResult(
        tasks=tuple(_answer(task, maps) for task in model.tasks),
        tiles_known=known,
        tiles_total=total,
        unreadable=unreadable,
        complete=known + unreadable >= total,
        model_name=model.card.name,
        model_digest=model.digest,
        slide_name=slide.name,
        slide_fingerprint=slide.fingerprint,
        heatmaps=heatmaps,
        selected={},
        painting=PixelPainting(
            maps=maps, attention=attention, version=maps.version + (attention.version if attention is not None else 0)
        ),
    )


def _answer(task: AnyTask, maps: PixelMaps) -> TaskResult:
    match task:
        case Segmentation():
            counts = maps.tally.classes(task.name)
            shares = counts / max(int(counts.sum()), 1)
            areas = counts * maps.lattice.pixel_mm2
            word, scope = ValueWord.SHARE, Scope.PIXELS
            return _result(task, None, shares, word=word, scope=scope, areas=tuple(areas.tolist()))
        case PixelRegression():
            return _result(task, maps.tally.mean(task.name), None, word=ValueWord.VALUE, scope=Scope.PIXELS)
        case Regression():
            mean = _mean(maps.tally.numbers(task.name))[0]
            return _result(task, float(mean), None, word=ValueWord.VALUE, scope=Scope.TILES)
        case Classification():
            classes = _mean(class_scores(task, maps.tally.numbers(task.name)))
            value = float(classes[1]) if task.is_binary else None
            return _result(task, value, classes, word=ValueWord.SCORE, scope=Scope.TILES)


def _result(
    task: AnyTask,
    value: float | None,
    classes: NDArray[np.float64] | None,
    *,
    word: ValueWord,
    scope: Scope,
    areas: tuple[float, ...] = (),
) -> TaskResult:
    return TaskResult(
        task=task,
        value=value if value is None or np.isfinite(value) else None,
        class_values=tuple(classes.tolist()) if classes is not None else (),
        calibrated=False,
        word=word,
        scope=scope,
        areas_mm2=areas,
    )


def class_scores(task: Classification, logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return each class' score for every tile, [tile, class], of logits [tile, output]; NaN stays NaN."""
    wide = logits.astype(np.float64)
    if task.is_binary:
        positive = 1 / (1 + np.exp(-np.clip(wide[:, 0], -700, 700)))
        return np.stack([1 - positive, positive], axis=1)
    raised = np.exp(wide - wide.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _mean(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean over the tiles that are known, [output], added up in the order of the tiles."""
    known = values[np.isfinite(values).all(axis=1)].astype(np.float64)
    return known.mean(axis=0) if len(known) else np.full(values.shape[1], np.nan)


def _per_tile(task: Classification | Regression, maps: PixelMaps) -> Heatmap:
    """Return one number per tile: of several classes the score of the one that is highest on the mean."""
    numbers, grid = maps.tally.numbers(task.name), maps.lattice.grid
    shown = None
    if isinstance(task, Regression):
        values = numbers[:, 0].copy()
    else:
        scores = class_scores(task, numbers)
        highest = 1 if task.is_binary else int(np.nan_to_num(_mean(scores)).argmax())
        shown = None if task.is_binary else highest
        values = scores[:, highest].astype(np.float32)
    return Heatmap(
        task=task.name, kind=HeatmapKind.PREDICTION, values=values.reshape(grid.shape), grid=grid, shown_class=shown
    )
