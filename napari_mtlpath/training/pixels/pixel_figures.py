"""Figures of a pixel model on test tiles, each beside that of the trivial answer."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from napari_mtlpath.evaluation.intervals import Interval, interval
from napari_mtlpath.evaluation.segmentation import Overlap, dice_interval, tile_draws
from napari_mtlpath.tasks import AnyTask, Classification, PixelRegression, Segmentation, Task
from napari_mtlpath.training.bags.bags import CardMetrics
from napari_mtlpath.training.evaluation import accuracy, estimate, macro_f1, majority, mean_error
from napari_mtlpath.training.pixels.pixel_answers import PixelFacts, known_labels, mask_overlap, value_errors
from napari_mtlpath.training.pixels.pixel_data import LabelledPixels, PixelData

Row = dict[str, float | str]


def pixel_figures(data: PixelData, facts: dict[str, PixelFacts]) -> CardMetrics:
    """Return figures by task and test part, each with its trivial floor and its 95 % interval over groups of tiles.

    Dice is over all pixels of all tiles of a part, and its mean over the classes but the background. Trivial answers:
    at each place of the tile the class that the training masks have there most often; the median of the values; the
    most frequent class of tiles.

    Parameters
    ----------
    facts
        By test part, as :attr:`PixelData.tests` names them.
    """
    groups: dict[str, Row] = {}
    for name, side in data.tests.items():
        draws = tile_draws(np.array(side.groups))
        for task in data.tasks:
            row = _row(task, data, side, facts[name], draws)
            if row:
                groups[f"{task.name} {name}".strip()] = row
    return groups


def _row(
    task: AnyTask, data: PixelData, side: LabelledPixels, facts: PixelFacts, draws: Float[NDArray, "draw tile"]
) -> Row:
    match task:
        case Segmentation():
            trivial = np.broadcast_to(usual_mask(task, data), tuple(side.tiles.shape[:3]))
            return _dice_row(task, facts.overlaps[task.name], mask_overlap(task, trivial, side), draws)
        case PixelRegression():
            median = float(np.nanmedian(data.train.pixels[task.name].numpy()))
            floor = value_errors(task, np.full(tuple(side.tiles.shape[:3]), median), side)
            return _entry("mean_absolute_error", _mean_error(facts.errors[task.name], draws), _mean(floor))
        case _:
            return _tile_row(task, data, side, facts)


def _dice_row(task: Segmentation, found: Overlap, floor: Overlap, draws: Float[NDArray, "draw tile"]) -> Row:
    row = _entry("dice", dice_interval(found, draws), float(np.nanmean(floor.dice())))
    drawn, trivial = found.dice(draws), np.nan_to_num(floor.dice()[0])
    for number, name in enumerate(task.classes[1:]):
        value = interval(float(found.dice()[0, number]), drawn[:, number])
        row |= _entry(f"dice {name}", value, float(trivial[number]))
    return row


def _tile_row(task: Task, data: PixelData, side: LabelledPixels, facts: PixelFacts) -> Row:
    truth, known = known_labels(data.tasks, side, task.name)
    if not known.any():
        return {}
    learned = known_labels(data.tasks, data.train, task.name)[0]
    classes = isinstance(task, Classification)
    usual = majority(learned) if classes else float(np.nanmedian(learned))
    row: Row = {}
    metrics = {"accuracy": accuracy, "macro_f1": macro_f1} if classes else {"mean_absolute_error": mean_error}
    for name, metric in metrics.items():
        floor = metric(truth[known], np.full(int(known.sum()), usual))
        row |= estimate(metric, truth[known], facts.answers[task.name][known]).row(name, floor=floor)
    return row


def usual_mask(task: Segmentation, data: PixelData) -> NDArray[np.uint8]:
    """Return the class that the training masks have most often at each place, [y, x]: the trivial answer."""
    masks = data.train.pixels[task.name].numpy()
    counts = np.stack([(masks == number).sum(axis=0) for number in range(len(task.classes))])
    return counts.argmax(axis=0).astype(np.uint8)


def _mean(errors: Float[NDArray, "tile 2"]) -> float:
    return float(errors[:, 0].sum() / errors[:, 1].sum())


def _mean_error(errors: Float[NDArray, "tile 2"], draws: Float[NDArray, "draw tile"]) -> Interval:
    drawn = draws @ errors
    return interval(_mean(errors), drawn[:, 0] / drawn[:, 1])


def _entry(name: str, found: Interval, floor: float) -> Row:
    values = {name: found.value, f"{name}_floor": floor, f"{name}_low": found.low, f"{name}_high": found.high}
    return {key: round(value, 4) for key, value in values.items()}
