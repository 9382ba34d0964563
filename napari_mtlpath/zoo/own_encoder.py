"""The tile encoder that a slide model carries within its own folder, because it was trained with the model."""

import shutil
from pathlib import Path

from napari_mtlpath.encoders.cards import ENCODER_FILE
from napari_mtlpath.encoders.find import ENCODERS_FOLDER
from napari_mtlpath.zoo.card import ModelCard


def own_encoder(folder: Path, card: ModelCard) -> Path | None:
    """Return the folder of the encoder within a model's folder, or None where the model uses one of the zoo's."""
    # A name, not a path: nothing that a card says leads out of the model's folder.
    if Path(card.encoder).name != card.encoder:
        return None
    path = folder / ENCODERS_FOLDER / card.encoder
    return path if (path / ENCODER_FILE).is_file() else None


def bring_encoder(card: ModelCard, folder: Path) -> None:
    """Copy the encoder that the model of `card` carries into another model's folder, unless one lies there."""
    own = own_encoder(card.folder, card) if card.folder is not None else None
    if own is not None and own_encoder(folder, card) is None:
        shutil.copytree(own, folder / ENCODERS_FOLDER / own.name)
