"""Encoder -> folder: weights, card and README, complete or not at all."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from napari_mtlpath.encoders.cards import ENCODER_FILE, ENCODER_WEIGHTS, EncoderCard, encoder_toml
from napari_mtlpath.encoders.readme import encoder_readme
from napari_mtlpath.files import replacing_folder
from napari_mtlpath.weights import write_weights


def save_encoder(folder: Path, card: EncoderCard, state: Mapping[str, Tensor] | None) -> EncoderCard:
    """Save a tile encoder as a model folder, replacing one that is there.

    Parameters
    ----------
    folder
        Where to; its name must be the card's.
    card
        The card; its `sha256` and `folder` are filled in here.
    state
        ``encoder.module.state_dict()``, stored as float16; None for an encoder without weights of its own.

    Returns
    -------
    The card as it was written. Load the encoder again before measuring it: float16 rounds the weights.
    """
    folder = Path(folder)
    if folder.name != card.name:
        raise ValueError(f"Encoder {card.name!r} must be saved in a folder of that name; found {folder.name!r}.")
    with replacing_folder(folder) as temporary:
        digest = "" if state is None else write_weights(temporary / ENCODER_WEIGHTS, state)
        if state is None:
            (temporary / ENCODER_WEIGHTS).unlink(missing_ok=True)
        card = replace(card, sha256=digest, folder=folder)
        (temporary / ENCODER_FILE).write_text(encoder_toml(card), encoding="utf-8")
        (temporary / "README.md").write_text(encoder_readme(card), encoding="utf-8")
    return card
