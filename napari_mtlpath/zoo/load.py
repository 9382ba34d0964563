"""Name -> ready slide model, and the list of the models that there are."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from napari_mtlpath.encoders.backend import Backend
from napari_mtlpath.encoders.card_file import CardError
from napari_mtlpath.encoders.computing import encoder_for
from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.encoders.load import EncoderNotFound, build_encoder, find_encoder_card, refuse_pickles
from napari_mtlpath.encoders.precision import Precision, with_precision
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.plugins import PluginFolder
from napari_mtlpath.weights import check_fit, load_weights, read_weights
from napari_mtlpath.zoo.card import MODEL_FILE, MODEL_WEIGHTS, ModelCard, read_model_card
from napari_mtlpath.zoo.device import pick_device
from napari_mtlpath.zoo.model import SlideModel
from napari_mtlpath.zoo.own_encoder import own_encoder
from napari_mtlpath.zoo.pixel_card import PIXEL_MODELS_FOLDER
from napari_mtlpath.zoo.places import BrokenModel as BrokenModel  # callers of `list_models` know it from here
from napari_mtlpath.zoo.places import ModelNotFound as ModelNotFound
from napari_mtlpath.zoo.places import find, not_found, scan

MODELS_FOLDER = "slide-models"

AGGREGATORS: PluginFolder[Aggregator] = PluginFolder(
    "napari_mtlpath.nn.aggregators",
    contract=Aggregator,  # type: ignore[type-abstract]  # a contract is abstract by nature
    noun="aggregator",
)


def load_model(
    name_or_path: str | Path,
    *,
    device: str | torch.device = "auto",
    precision: Precision = Precision.FLOAT32,
    backend: Backend | str = Backend.TORCH,
) -> SlideModel:
    """Load a slide model completely checked, or not at all.

    Parameters
    ----------
    name_or_path
        The name of a folder below ``slide-models/`` of a models folder, or a path to such a folder.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    precision
        Arithmetic of the encoder; see :mod:`napari_mtlpath.encoders.precision`.
    backend
        What computes the encoder; see :mod:`napari_mtlpath.encoders.backend`.

    Raises
    ------
    ModelNotFound
        If there is no such model; the message names the nearest one.
    CardError, WeightsError
        If card, weights or encoder are refused: one sentence says why.
    ValueError
        If the device or the backend cannot be used here.
    """
    wanted = _backend(backend)
    folder = find_model(name_or_path)
    card = read_model_card(folder)
    place = pick_device(device)
    refuse_pickles(folder)
    if not card.weights_sha256:
        raise CardError(f"Model {card.name!r} states no weights_sha256. Save it again with save_model.")
    state = read_weights(folder / MODEL_WEIGHTS, sha256=card.weights_sha256)
    encoder = with_precision(_encoder_of(card, folder, wanted, place.device), precision)
    aggregator = _aggregator_of(card, encoder, state)
    return SlideModel(card=card, encoder=encoder, aggregator=aggregator, device=place)


def list_models() -> tuple[ModelCard, ...]:
    """Return the cards of all slide models that can be read, by name; the first of a name hides later ones."""
    entries = scan(MODELS_FOLDER, read_model_card).values()
    return tuple(entry for entry in entries if isinstance(entry, ModelCard))


def broken_models() -> tuple[BrokenModel, ...]:
    """Return the folders among the slide models whose card cannot be used, each with its reason."""
    entries = scan(MODELS_FOLDER, read_model_card).values()
    return tuple(entry for entry in entries if isinstance(entry, BrokenModel))


def find_model(name_or_path: str | Path) -> Path:
    """Return the folder of a slide model by name or path; raise ModelNotFound with the nearest name."""
    found = find(name_or_path, kind=MODELS_FOLDER)
    if found is None:
        # A model of pixels that has the name is refused by its card, which says what it is.
        found = find(name_or_path, kind=PIXEL_MODELS_FOLDER)
    if found is None:
        raise not_found(name_or_path, list(scan(MODELS_FOLDER, read_model_card)), noun="slide model")
    return found


def _aggregator_of(card: ModelCard, encoder: Encoder, state: Mapping[str, Tensor]) -> Aggregator:
    """Build the aggregator and load its weights; one that does not fit them is never given memory."""
    kind, what = AGGREGATORS.load(card.aggregator), f"The weights of model {card.name!r}"
    with torch.device("meta"):
        check_fit(kind.build(tasks=card.tasks, features=encoder.features, options=card.options), state, what=what)
    aggregator = kind.build(tasks=card.tasks, features=encoder.features, options=card.options)
    load_weights(aggregator, state, what=what)
    return aggregator


def _backend(name: Backend | str) -> Backend:
    try:
        return Backend(name)
    except ValueError:
        raise ValueError(f"Expected a backend of {', '.join(map(repr, map(str, Backend)))}; found {name!r}.") from None


def _encoder_of(card: ModelCard, folder: Path, backend: Backend, device: torch.device) -> Encoder:
    """Load the encoder that a card names: within the model or beside it first, so that folders can be moved."""
    own, beside = own_encoder(folder, card), folder.parent.parent
    try:
        described = find_encoder_card(own or card.encoder, models=beside if beside.is_dir() else None)
        encoder = encoder_for(backend, card=described, device=device, build=lambda: build_encoder(described))
    except EncoderNotFound as error:
        raise CardError(
            f"Model {card.name!r} needs the tile encoder {card.encoder!r}, which is not here. "
            "Put its folder below tile-encoders/ of a models folder."
        ) from error
    if encoder.base_digest != card.encoder_sha256:
        raise CardError(
            f"Model {card.name!r} was made with another version of the tile encoder {card.encoder!r}: expected "
            f"{card.encoder_sha256[:12]}…, found {encoder.base_digest[:12]}…. "
            "Get the encoder that belongs to the model."
        )
    if encoder.tile_px != card.tile.tile_px:
        raise CardError(
            f"Model {card.name!r} asks for tiles of {card.tile.tile_px} px; its encoder {card.encoder!r} takes "
            f"{encoder.tile_px} px. Correct tile_px in {MODEL_FILE}."
        )
    return encoder
