"""Figures of a tile encoder's heads on the validation tiles, beside trivial floors."""

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from napari_mtlpath.tasks import Classification
from napari_mtlpath.training.bags.bags import CardMetrics
from napari_mtlpath.training.evaluation import Metric, accuracy, estimate, macro_f1, mean_over_columns, r2
from napari_mtlpath.training.floors import colour_answers, thumbnail_answers, trivial_answers
from napari_mtlpath.training.tile_training.augment import TURNS
from napari_mtlpath.training.tile_training.multi_head import MultiHead
from napari_mtlpath.training.tile_training.tile_answers import answer_tiles
from napari_mtlpath.training.tile_training.tile_data import TileData


def encoder_figures(module: MultiHead, data: TileData, *, device: torch.device) -> CardMetrics:
    """Return the figures of a network in evaluation mode: of single tiles, and of means over eight turns of each."""
    single, eight = (
        answer_tiles(module, data.tasks, data.validation, device=device, turns=turns) for turns in (1, TURNS)
    )
    averaged = {"mean over tasks, eight turns averaged": _averages(data, eight, trivial_answers(data))}
    return averaged | tile_metrics(data, single)


def tile_metrics(data: TileData, answers: Float[NDArray, "tile task"]) -> CardMetrics:
    """Return the figures of `answers` on the validation tiles, each beside the trivial answer's.

    The first groups are means over the averaged tasks: of the network and, beside it, of a linear model on thumbnails
    and of one on the mean colour, which are floors of their own.
    """
    trivial = trivial_answers(data)
    groups = {
        "mean over tasks": _averages(data, answers, trivial),
        "mean over tasks, thumbnail floor": _averages(data, thumbnail_answers(data), trivial),
        "mean over tasks, mean-colour floor": _averages(data, colour_answers(data), trivial),
    }
    truth = data.validation.labels.double().numpy()
    for column, task in enumerate(data.tasks):
        known = ~np.isnan(truth[:, column])
        if not known.any():
            continue
        groups[task.name] = {}
        for name, metric in _metrics_of(isinstance(task, Classification)).items():
            floor = metric(truth[known, column], trivial[known, column])
            groups[task.name] |= estimate(metric, truth[known, column], answers[known, column]).row(name, floor=floor)
    return groups


def _averages(
    data: TileData, answers: Float[NDArray, "tile task"], trivial: Float[NDArray, "tile task"]
) -> dict[str, float | str]:
    truth = data.validation.labels.double().numpy()
    rows: dict[str, float | str] = {}
    for classification in (True, False):
        columns = [
            column
            for column, task in enumerate(data.tasks)
            if task.name in data.averaged
            and isinstance(task, Classification) == classification
            and not np.isnan(truth[:, column]).all()
        ]
        known = ~np.isnan(truth[:, columns]).any(axis=1)
        for name, metric in _metrics_of(classification).items() if columns and known.any() else ():
            mean = mean_over_columns(metric)
            chosen = np.ix_(known, columns)
            rows |= estimate(mean, truth[chosen], answers[chosen]).row(name, floor=mean(truth[chosen], trivial[chosen]))
    return rows


def _metrics_of(classification: bool) -> dict[str, Metric]:
    return {"accuracy": accuracy, "macro_f1": macro_f1} if classification else {"r2": r2}
