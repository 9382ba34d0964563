"""Trained multi-head network -> encoder folder: weights, heads, card with measured figures, and the config."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import tomli_w
from jaxtyping import Float
from numpy.typing import NDArray
from safetensors.torch import save_file

from napari_mtlpath.encoders.cards import EncoderCard
from napari_mtlpath.encoders.save import save_encoder
from napari_mtlpath.files import replacing
from napari_mtlpath.tasks import Classification
from napari_mtlpath.training.config import BagsConfig, TilesConfig
from napari_mtlpath.training.evaluation import Metric, accuracy, estimate, macro_f1, mean_over_columns, r2
from napari_mtlpath.training.floors import colour_answers, thumbnail_answers, trivial_answers
from napari_mtlpath.training.multi_head import MultiHead
from napari_mtlpath.training.tile_data import TileData

HEADS_FILE = "heads.safetensors"
CONFIG_FILE = "train.toml"

CardMetrics = dict[str, dict[str, float | str]]


def publish_encoder(
    folder: Path,
    *,
    config: TilesConfig,
    data: TileData,
    module: MultiHead,
    answers: Float[NDArray, "tile task"],
    facts: Mapping[str, str | int | float],
) -> Path:
    """Write encoder, heads, card and config to `folder` and return it.

    Parameters
    ----------
    answers
        What the network says about the validation tiles, for the figures on the card.
    facts
        Epochs, minutes, machine.
    """
    network = module.network
    texts = config.card
    stated = {key: value for key, value in (dict(data.facts) | dict(facts)).items() if value != ""}
    card = EncoderCard(
        name=config.name,
        family=config.encoder.family,
        features=module.norm.num_features,
        options={"tile_px": int(data.spec.tile_px), **config.encoder.options},
        licence=texts.licence,
        attribution=texts.attribution,
        title=texts.title,
        summary=texts.summary,
        made_for=texts.made_for,
        limits=texts.limits,
        tile=data.spec,
        metrics=tile_metrics(data, answers),
        provenance={
            **stated,
            "seed": config.seed,
            "command": f"mtlpath train models/tile-encoders/{config.name}/{CONFIG_FILE}",
        },
    )
    save_encoder(folder, card, network.state_dict())
    write_heads(folder, module, data)
    write_config(folder, config)
    return folder


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
        groups[task.name] = {}
        for name, metric in _metrics_of(isinstance(task, Classification)).items():
            floor = metric(truth[known, column], trivial[known, column])
            groups[task.name] |= estimate(metric, truth[known, column], answers[known, column]).row(name, floor=floor)
    return groups


def write_heads(folder: Path, module: MultiHead, data: TileData) -> None:
    """Write norm and heads beside the encoder; the tasks are in the file's metadata."""
    state = {**module.norm.state_dict(prefix="norm."), **module.heads.state_dict(prefix="heads.")}
    tasks = [asdict(task) for task in data.tasks]
    with replacing(folder / HEADS_FILE) as temporary:
        save_file({name: value.contiguous() for name, value in state.items()}, temporary, {"tasks": json.dumps(tasks)})


def write_config(folder: Path, config: TilesConfig | BagsConfig) -> None:
    """Write the config beside the weights unless one lies there, so that a reader can repeat the training."""
    path = folder / CONFIG_FILE
    if not path.exists():
        with replacing(path) as temporary:
            temporary.write_text(tomli_w.dumps(config.model_dump(mode="json", exclude_defaults=True)), encoding="utf-8")


def _averages(
    data: TileData, answers: Float[NDArray, "tile task"], trivial: Float[NDArray, "tile task"]
) -> dict[str, float | str]:
    truth = data.validation.labels.double().numpy()
    rows: dict[str, float | str] = {}
    for classification in (True, False):
        columns = [
            column
            for column, task in enumerate(data.tasks)
            if task.name in data.averaged and isinstance(task, Classification) == classification
        ]
        known = ~np.isnan(truth[:, columns]).any(axis=1)
        for name, metric in _metrics_of(classification).items() if columns else ():
            mean = mean_over_columns(metric)
            chosen = np.ix_(known, columns)
            rows |= estimate(mean, truth[chosen], answers[chosen]).row(name, floor=mean(truth[chosen], trivial[chosen]))
    return rows


def _metrics_of(classification: bool) -> dict[str, Metric]:
    return {"accuracy": accuracy, "macro_f1": macro_f1} if classification else {"r2": r2}
