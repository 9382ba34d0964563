"""A trained encoder -> a folder within its model's folder, so that the model carries it along."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import nn

from napari_mtlpath.encoders.card_file import MAX_NAME
from napari_mtlpath.encoders.cards import EncoderCard
from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.encoders.load import ENCODERS_FOLDER, load_encoder
from napari_mtlpath.encoders.save import save_encoder
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.config.train_config import BagsConfig
from napari_mtlpath.training.tile_training.publish_encoder import CONFIG_FILE

SUFFIX = "-encoder"


def encoder_name(model: str) -> str:
    """Return what the encoder that a model carries is called."""
    return f"{model[: MAX_NAME - len(SUFFIX)]}{SUFFIX}"


def trained_encoder_card(
    start: EncoderCard,
    *,
    model: str,
    title: str,
    which: str,
    spec: TileSpec,
    provenance: Mapping[str, str | int | float],
) -> EncoderCard:
    """Return the card of an encoder that was trained with a model.

    Parameters
    ----------
    start
        The encoder that the training started from.
    model, title
        Name and title of the model.
    which
        What of it learned, in words.
    spec
        The tiles that it was trained on.
    provenance
        How.
    """
    return replace(
        start,
        name=encoder_name(model),
        options={key: value for key, value in start.options.items() if key != "pretrained"} | {"tile_px": spec.tile_px},
        title=f"Tile encoder of {title}",
        summary=f"{start.title or start.name}; {which} trained on with model {model!r}. {start.summary}".strip(),
        tile=spec,
        weights="",
        metrics={},  # those of the starting encoder do not hold any more
        folder=None,
        provenance=dict(provenance),
    )


def publish_trained_encoder(
    folder: Path,
    *,
    config: BagsConfig,
    start: EncoderCard,
    start_digest: str,
    network: nn.Module,
    spec: TileSpec,
    facts: Mapping[str, str | int | float],
) -> Encoder:
    """Write the encoder to ``tile-encoders/`` in the model's `folder` and return it as it loads from there.

    Parameters
    ----------
    folder
        The model's.
    start, start_digest
        The encoder that the training started from.
    network
        The trained one, its weights rounded to float16.
    spec
        The tiles that it was trained on.
    facts
        Epochs, minutes, machine.
    """
    assert config.encoder_training is not None
    table = config.encoder_training
    which = "all its layers" if table.blocks == "all" else f"its last {table.blocks} block(s)"
    card = trained_encoder_card(
        start,
        model=config.name,
        title=config.card.title or config.name,
        which=which,
        spec=spec,
        provenance={
            **{key: value for key, value in facts.items() if value != ""},
            "started_from": start.name,
            "started_from_sha256": start_digest,
            "trained": which,
            "learning_rate": table.learning_rate,
            "seed": config.seed,
            "command": f"mtlpath train {CONFIG_FILE}",
        },
    )
    target = folder / ENCODERS_FOLDER / card.name
    save_encoder(target, card, network.state_dict())
    return load_encoder(target)
