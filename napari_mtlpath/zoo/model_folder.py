"""A trained model of any kind as a folder: weights, card, README and further texts, complete or not at all."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from napari_mtlpath.files import replacing_folder
from napari_mtlpath.weights import write_weights
from napari_mtlpath.zoo.card import MODEL_WEIGHTS, ModelCard
from napari_mtlpath.zoo.pixel_card import PixelCard

Card = TypeVar("Card", ModelCard, PixelCard)


def write_model(
    folder: Path,
    card: Card,
    state: Mapping[str, Tensor],
    *,
    texts: Callable[[Card], Mapping[str, str]],
    bring: Callable[[Path], Card] | None = None,
) -> Card:
    """Write a model folder, replacing one that is there.

    Parameters
    ----------
    folder
        Where to; its name must be the card's.
    card
        The card; its `weights_sha256` and `folder` are filled in here.
    state
        The network's ``state_dict()``, stored as float16.
    texts
        The folder's text files by name, of the card as it is written; ``model.toml`` among them.
    bring
        Puts what else belongs to the model into a folder, before the weights, and returns the card that names it.

    Returns
    -------
    The card as it was written.
    """
    folder = Path(folder)
    if folder.name != card.name:
        raise ValueError(f"Model {card.name!r} must be saved in a folder of that name; found {folder.name!r}.")
    with replacing_folder(folder) as temporary:
        card = card if bring is None else bring(temporary)
        card = replace(card, weights_sha256=write_weights(temporary / MODEL_WEIGHTS, state), folder=folder)
        for name, text in texts(card).items():
            (temporary / name).write_text(text, encoding="utf-8")
    return card
