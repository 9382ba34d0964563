"""Name -> ready slide model, and the list of the models that there are."""

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mtlpath.encoders.backend import Backend
from napari_mtlpath.encoders.card_file import CardError
from napari_mtlpath.encoders.cards import EncoderCard
from napari_mtlpath.encoders.computing import encoder_for
from napari_mtlpath.encoders.find import EncoderNotFound
from napari_mtlpath.encoders.openvino_encoder import OpenvinoEncoder, OpenvinoRefused
from napari_mtlpath.encoders.precision import Precision
from napari_mtlpath.encoders.tile_encoder import TileEncoder
from napari_mtlpath.hashes import file_sha256
from napari_mtlpath.processors import Processor
from napari_mtlpath.weights_file import check_no_pickle, check_promise, refuse_pickles
from napari_mtlpath.zoo.card import MODEL_FILE, MODEL_WEIGHTS, ModelCard, read_model_card
from napari_mtlpath.zoo.computing import openvino_aggregator
from napari_mtlpath.zoo.device import Device, pick_device, surely_cpu
from napari_mtlpath.zoo.model import SlideModel
from napari_mtlpath.zoo.openvino_aggregator import OpenvinoAggregator
from napari_mtlpath.zoo.own_encoder import encoder_card_of
from napari_mtlpath.zoo.pixel_card import PIXEL_MODELS_FOLDER
from napari_mtlpath.zoo.places import BrokenModel as BrokenModel  # callers of `list_models` know it from here
from napari_mtlpath.zoo.places import ModelNotFound as ModelNotFound
from napari_mtlpath.zoo.places import find, not_found, scan

if TYPE_CHECKING:
    from napari_mtlpath.nn.aggregator import Aggregator

MODELS_FOLDER = "slide-models"

TORCH_ANSWERS = "Tiles go through OpenVINO, and torch answers for the slide."
"""What is done where OpenVINO is refused for the aggregator alone."""

logger = logging.getLogger(__name__)


def load_model(
    name_or_path: str | Path,
    *,
    device: str | Processor = "auto",
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
    place = _without_torch(wanted, precision, device) or pick_device(device)
    refuse_pickles(folder)
    if not card.weights_sha256:
        raise CardError(f"Model {card.name!r} states no weights_sha256. Save it again with save_model.")
    encoder = _encoder_of(card, folder, wanted, place.device)
    if precision is not Precision.FLOAT32:
        encoder = _in_precision(encoder, precision)
    build, refusal = _builder(card, folder, encoder.features), ""
    try:
        aggregator = _aggregator_of(card, folder, encoder, build)
    except OpenvinoRefused as error:
        refusal = f"{error} {TORCH_ANSWERS}"
        logger.warning(refusal)
        aggregator = build()
    if not isinstance(aggregator, OpenvinoAggregator):
        place = pick_device(device)
    return SlideModel(card=card, encoder=encoder, aggregator=aggregator, device=place, refusal=refusal)


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


def _aggregator_of(
    card: ModelCard, folder: Path, encoder: TileEncoder, build: "Callable[[], Aggregator]"
) -> "Aggregator | OpenvinoAggregator":
    """Let OpenVINO answer where it computes the tiles; raise OpenvinoRefused if it does not give torch's answers."""
    if not isinstance(encoder, OpenvinoEncoder):
        return build()
    weights = folder / MODEL_WEIGHTS
    check_no_pickle(weights)
    check_promise(weights, expected=card.weights_sha256, found=file_sha256(weights))
    return openvino_aggregator(card, encoder=encoder, build=build)


def _builder(card: ModelCard, folder: Path, features: int) -> "Callable[[], Aggregator]":
    """Return what builds torch's aggregator from the model's weights."""

    def build() -> "Aggregator":
        from napari_mtlpath.weights import read_weights
        from napari_mtlpath.zoo.aggregators import build_aggregator

        state = read_weights(folder / MODEL_WEIGHTS, sha256=card.weights_sha256)
        return build_aggregator(card, features=features, state=state)

    return build


def _in_precision(encoder: TileEncoder, precision: Precision) -> TileEncoder:
    from napari_mtlpath.encoders.bfloat16 import with_precision
    from napari_mtlpath.encoders.encoder import Encoder

    return with_precision(encoder, precision) if isinstance(encoder, Encoder) else encoder


def _build_encoder(card: EncoderCard) -> TileEncoder:
    from napari_mtlpath.encoders.load import build_encoder

    return build_encoder(card)


def _without_torch(backend: Backend, precision: Precision, device: str | Processor) -> Device | None:
    """Return the CPU where OpenVINO may compute there, and None where torch has to be asked for its devices."""
    if backend is Backend.TORCH or precision is not Precision.FLOAT32:
        return None
    return surely_cpu(device) if importlib.util.find_spec("openvino") is not None else None


def _backend(name: Backend | str) -> Backend:
    try:
        return Backend(name)
    except ValueError:
        raise ValueError(f"Expected a backend of {', '.join(map(repr, map(str, Backend)))}; found {name!r}.") from None


def _encoder_of(card: ModelCard, folder: Path, backend: Backend, device: Processor) -> TileEncoder:
    """Load the encoder that a card names: within the model or beside it first, so that folders can be moved."""
    try:
        described = encoder_card_of(card, folder)
        encoder = encoder_for(backend, card=described, device=device, build=lambda: _build_encoder(described))
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
