"""Trained pool network -> two folders: a tile encoder, and beside it a tile model of that encoder and all heads."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from napari_mtlpath.encoders.card_file import MAX_NAME
from napari_mtlpath.encoders.cards import EncoderCard
from napari_mtlpath.encoders.load import ENCODERS_FOLDER, find_encoder_card, load_encoder
from napari_mtlpath.encoders.save import save_encoder
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.bags.bags import CardMetrics
from napari_mtlpath.training.config.pool import PoolConfig
from napari_mtlpath.training.evaluation import estimate, macro_f1, majority
from napari_mtlpath.training.pool.parts import Part
from napari_mtlpath.training.pool.pool_answers import answers_of, can_be_judged, floor_of, metric_of
from napari_mtlpath.training.pool.pool_network import PoolNetwork
from napari_mtlpath.training.pool.task_pool import TaskPool
from napari_mtlpath.training.tile_training.publish_encoder import CONFIG_FILE, write_config
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.load import MODELS_FOLDER
from napari_mtlpath.zoo.save import save_model

SUFFIX = "-tiles"
LIMITS = "Every answer is about single tiles; a slide's figure is the mean over its tiles, which nobody has judged."


def publish_pool(
    folder: Path,
    *,
    config: PoolConfig,
    pool: TaskPool,
    module: PoolNetwork,
    logits: Mapping[str, Float[NDArray[np.float32], "sample output"]],
    facts: Mapping[str, str | int | float],
) -> Path:
    """Write the encoder to `folder`, the tile model to :func:`tile_model_folder`, and return `folder`.

    Parameters
    ----------
    module
        Its weights rounded to float16.
    logits
        By task: what it says about the test part.
    facts
        Epochs, minutes, machine.
    """
    metrics = figures_of_test(pool, logits)
    family, options = _architecture(config)
    card = EncoderCard(
        name=config.name,
        family=family,
        features=module.features,
        options=options,
        tile=pool.spec,
        metrics=metrics,
        provenance=_provenance(config, pool, facts),
        **config.card.model_dump(),
    )
    save_encoder(folder, card, module.network.state_dict())
    write_config(folder, config)
    write_tile_model(folder, card, config=config, module=module, spec=pool.spec)
    return folder


def tile_model_folder(encoder: Path) -> Path:
    """Return where the tile model of an encoder's folder lies: among the models of the same zoo, else beside it.

    Examples
    --------
    >>> tile_model_folder(Path("models/tile-encoders/cells")).as_posix()
    'models/slide-models/cells-tiles'
    >>> tile_model_folder(Path("out/cells")).as_posix()
    'out/cells-tiles'
    """
    name = f"{encoder.name[: MAX_NAME - len(SUFFIX)]}{SUFFIX}"
    if encoder.parent.name == ENCODERS_FOLDER:
        return encoder.parent.parent / MODELS_FOLDER / name
    return encoder.with_name(name)


def write_tile_model(
    folder: Path, card: EncoderCard, *, config: PoolConfig, module: PoolNetwork, spec: TileSpec
) -> None:
    """Write heads and card of the tile model of the encoder in `folder`; outside a zoo, a copy of the encoder too."""
    target = tile_model_folder(folder)
    if target.parent.name != MODELS_FOLDER:
        own = target / ENCODERS_FOLDER / card.name
        shutil.rmtree(own, ignore_errors=True)
        shutil.copytree(folder, own)
    title = card.title or card.name
    described = ModelCard(
        name=target.name,
        tasks=module.tasks,
        encoder=card.name,
        encoder_sha256=load_encoder(folder).digest,
        tile=spec,
        aggregator="tile_heads",
        tile_tasks=tuple(task.name for task in module.tasks),
        metrics=card.metrics,
        provenance=card.provenance,
        **config.card.model_dump(),
    )
    limits = f"{LIMITS} {card.limits}".strip()
    save_model(target, replace(described, title=f"{title}: tile by tile", limits=limits), head_state(module))


def head_state(module: PoolNetwork) -> dict[str, Tensor]:
    """Return the heads as :class:`napari_mtlpath.nn.aggregators.tile_heads.TileHeads` names them."""
    return {
        f"heads.{index}.{name}": value
        for index, task in enumerate(module.tasks)
        for name, value in module.heads[task.name].state_dict().items()
    }


def figures_of_test(pool: TaskPool, logits: Mapping[str, Float[NDArray[np.float32], "sample output"]]) -> CardMetrics:
    """Return each task's figure on its test part beside the trivial answer's, and first their mean."""
    rows: CardMetrics = {}
    values, floors = [], []
    for task in pool.tasks:
        if not can_be_judged(task, Part.TEST):
            continue
        name, metric = metric_of(task.task)
        truth = task.parts[Part.TEST].labels.astype(np.float64)
        found = estimate(metric, truth, answers_of(task.task, logits[task.name]))
        floor = floor_of(task, Part.TEST)
        rows[task.name] = found.row(name, floor=floor)
        if not task.task.is_binary:  # where one class is far more frequent than the others, accuracy says little
            always = np.full(len(truth), majority(task.parts[Part.TRAIN].labels))
            spread = estimate(macro_f1, truth, answers_of(task.task, logits[task.name]))
            rows[task.name] |= spread.row("macro_f1", floor=macro_f1(truth, always))
        values.append(found.value)
        floors.append(floor)
    if not values:
        return {}
    mean = {"accuracy_or_auc": round(float(np.mean(values)), 4)}
    return {"mean over tasks": {**mean, "accuracy_or_auc_floor": round(float(np.mean(floors)), 4)}, **rows}


def _architecture(config: PoolConfig) -> tuple[str, dict[str, object]]:
    """Return the encoder's family and options; those of the encoder that it started from, if any."""
    if not config.encoder.start_from:
        return config.encoder.family, {"tile_px": config.tile.tile_px, **config.encoder.options}
    found = find_encoder_card(config.encoder.start_from)
    kept = {key: value for key, value in found.options.items() if key != "pretrained"}
    return found.family, {**kept, "tile_px": config.tile.tile_px}


def _provenance(
    config: PoolConfig, pool: TaskPool, facts: Mapping[str, str | int | float]
) -> dict[str, str | int | float]:
    sizes = {
        f"task {task.name}": f"{task.facts}; {', '.join(f'{len(task.parts[part])} {part}' for part in Part)}"
        for task in pool.tasks
    }
    stated = {key: value for key, value in facts.items() if value != ""}
    left_out = {"left_out": ", ".join(config.leave_out)} if config.leave_out else {}
    started = {"started_from": config.encoder.start_from} if config.encoder.start_from else {}
    command = f"mtlpath pretrain models/{ENCODERS_FOLDER}/{config.name}/{CONFIG_FILE}"
    return {**sizes, **left_out, **started, **stated, "seed": config.seed, "command": command}
