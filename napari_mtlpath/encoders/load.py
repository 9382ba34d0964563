"""Name -> ready encoder: from a folder with a card, from timm, or from the Hugging Face Hub."""

from pathlib import Path

from napari_mtlpath.encoders.card_file import CardError
from napari_mtlpath.encoders.cards import ENCODER_WEIGHTS, EncoderCard
from napari_mtlpath.encoders.encoder import Encoder, EncoderFamily
from napari_mtlpath.encoders.find import ENCODERS_FOLDER as ENCODERS_FOLDER  # callers know these from here, too
from napari_mtlpath.encoders.find import EncoderNotFound as EncoderNotFound
from napari_mtlpath.encoders.find import encoder_names as encoder_names
from napari_mtlpath.encoders.find import find_encoder_card as find_encoder_card
from napari_mtlpath.plugins import PluginFolder
from napari_mtlpath.weights import read_weights
from napari_mtlpath.weights_file import WeightsError
from napari_mtlpath.weights_file import refuse_pickles as refuse_pickles

FAMILIES: PluginFolder[EncoderFamily] = PluginFolder(
    "napari_mtlpath.encoders.families",
    contract=EncoderFamily,  # type: ignore[type-abstract]  # a contract is abstract by nature
    noun="encoder family",
)


def load_encoder(name_or_path: str | Path, *, models: Path | None = None) -> Encoder:
    """Load a tile encoder, frozen and in eval mode, on the CPU.

    Parameters
    ----------
    name_or_path
        The name of a folder below ``tile-encoders/``, a path to such a folder, ``"timm:NAME"`` or
        ``"hf-hub:ORG/NAME"`` (the last two download weights on first use).
    models
        A models folder to look into before the usual ones.

    Raises
    ------
    EncoderNotFound
        If there is no such encoder; the message names the nearest one.
    CardError, WeightsError
        If its card or weights are refused; nothing is half loaded.
    HubError
        If weights have to be downloaded and cannot be.

    Examples
    --------
    >>> load_encoder("colour-stats").features
    42
    """
    return build_encoder(find_encoder_card(name_or_path, models=models))


def build_encoder(card: EncoderCard) -> Encoder:
    """Build the encoder that a card describes, its weights checked against the card's hash."""
    family = FAMILIES.load(card.family)
    options = dict(card.options)
    if card.tile is not None:
        options.setdefault("tile_px", card.tile.tile_px)
    state = None
    if card.folder is not None:
        refuse_pickles(card.folder)
        if card.sha256:
            state = read_weights(card.folder / ENCODER_WEIGHTS, sha256=card.sha256)
        elif (card.folder / ENCODER_WEIGHTS).exists():
            raise WeightsError(
                f"Encoder {card.name!r} has weights but its card states no sha256. Save it again, or add the hash."
            )
    encoder = family.build(name=card.name, options=options, state=state)
    if card.features not in (0, encoder.features):
        raise CardError(
            f"The card of encoder {card.name!r} states {card.features} features; its network gives {encoder.features}. "
            "Correct the card or use the weights that belong to it."
        )
    encoder.module.eval().requires_grad_(False)
    return encoder
