"""Trained multi-head network -> encoder folder: weights, heads, card with measured figures, and the config."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import tomli_w
from safetensors.torch import save

from napari_mtlpath.encoders.cards import EncoderCard
from napari_mtlpath.encoders.save import save_encoder
from napari_mtlpath.files import replacing
from napari_mtlpath.training.bags.bags import CardMetrics
from napari_mtlpath.training.config.table import Table
from napari_mtlpath.training.config.train_config import TilesConfig
from napari_mtlpath.training.tile_training.multi_head import MultiHead
from napari_mtlpath.training.tile_training.tile_data import TileData

HEADS_FILE = "heads.safetensors"
CONFIG_FILE = "train.toml"


def publish_encoder(
    folder: Path,
    *,
    config: TilesConfig,
    data: TileData,
    module: MultiHead,
    metrics: CardMetrics,
    facts: Mapping[str, str | int | float],
) -> Path:
    """Write encoder, heads, card and config to `folder` and return it.

    Parameters
    ----------
    metrics
        Figures of the rounded weights, for the card.
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
        metrics=metrics,
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


def write_heads(folder: Path, module: MultiHead, data: TileData) -> None:
    """Write norm and heads beside the encoder; the tasks are in the file's metadata."""
    state = {**module.norm.state_dict(prefix="norm."), **module.heads.state_dict(prefix="heads.")}
    tasks = [asdict(task) for task in data.tasks]
    with replacing(folder / HEADS_FILE) as temporary:
        temporary.write_bytes(
            save({name: value.contiguous() for name, value in state.items()}, {"tasks": json.dumps(tasks)})
        )


def write_config(folder: Path, config: Table) -> None:
    """Write the config beside the weights unless one lies there, so that a reader can repeat the training."""
    path = folder / CONFIG_FILE
    if not path.exists():
        with replacing(path) as temporary:
            temporary.write_text(tomli_w.dumps(config.model_dump(mode="json", exclude_defaults=True)), encoding="utf-8")
