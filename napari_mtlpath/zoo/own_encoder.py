"""The tile encoder that a slide model carries within its own folder, because it was trained with the model."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mtlpath.encoders.cards import ENCODER_FILE, EncoderCard
from napari_mtlpath.encoders.find import ENCODERS_FOLDER, find_encoder_card
from napari_mtlpath.zoo.card import ModelCard

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedEncoder:
    """An encoder that a model is to carry, not saved yet.

    Attributes
    ----------
    card
        Its card; the name is that of its folder.
    state
        Its weights.
    """

    card: EncoderCard
    state: "Mapping[str, Tensor]"


def own_encoder(folder: Path, card: ModelCard) -> Path | None:
    """Return the folder of the encoder within a model's folder, or None where the model uses one of the zoo's."""
    # A name, not a path: nothing that a card says leads out of the model's folder.
    if Path(card.encoder).name != card.encoder:
        return None
    path = folder / ENCODERS_FOLDER / card.encoder
    return path if (path / ENCODER_FILE).is_file() else None


def encoder_card_of(card: ModelCard, folder: Path) -> EncoderCard:
    """Return the card of a model's encoder: within the model or beside it first, so that folders can be moved.

    Raises
    ------
    EncoderNotFound
        If there is none of that name.
    """
    own, beside = own_encoder(folder, card), folder.parent.parent
    return find_encoder_card(own or card.encoder, models=beside if beside.is_dir() else None)


def bring_encoder(card: ModelCard, folder: Path) -> None:
    """Copy the encoder that the model of `card` carries into another model's folder, unless one lies there."""
    own = own_encoder(card.folder, card) if card.folder is not None else None
    if own is not None and own_encoder(folder, card) is None:
        shutil.copytree(own, folder / ENCODERS_FOLDER / own.name)


def write_own_encoder(trained: TrainedEncoder, card: ModelCard, folder: Path) -> ModelCard:
    """Write an encoder into the folder of the model of `card`, and return the card with that encoder."""
    from napari_mtlpath.encoders.load import load_encoder
    from napari_mtlpath.encoders.save import save_encoder

    target = folder / ENCODERS_FOLDER / trained.card.name
    save_encoder(target, trained.card, trained.state)
    return replace(card, encoder=trained.card.name, encoder_sha256=load_encoder(target).digest)
