"""Name -> ready model of whatever kind: of slides, or of pixels."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from napari_mtlpath.encoders.backend import Backend
from napari_mtlpath.encoders.card_file import read_toml
from napari_mtlpath.encoders.precision import Precision
from napari_mtlpath.processors import Processor
from napari_mtlpath.zoo.card import FORMAT, MODEL_FILE, PIXELS, ModelCard
from napari_mtlpath.zoo.load import MODELS_FOLDER, list_models, load_model
from napari_mtlpath.zoo.model import SlideModel
from napari_mtlpath.zoo.pixel_card import PIXEL_MODELS_FOLDER, PixelCard, read_pixel_card
from napari_mtlpath.zoo.places import find, not_found, scan

if TYPE_CHECKING:
    from napari_mtlpath.zoo.pixel_model import PixelModel

AnyModel: TypeAlias = "SlideModel | PixelModel"
"""A model of whatever kind."""


def load_any(
    name_or_path: str | Path,
    *,
    device: str | Processor = "auto",
    precision: Precision = Precision.FLOAT32,
    backend: Backend | str = Backend.TORCH,
) -> AnyModel:
    """Load a model by name or path, whatever its kind; a slide model hides a pixel model of the same name.

    `precision` and `backend` are those of a slide model's encoder; a pixel model computes in float32 by torch.

    Raises
    ------
    ModelNotFound
        If there is no such model; the message names the nearest one of all kinds.
    CardError, WeightsError, ValueError
        As :func:`napari_mtlpath.zoo.load.load_model` and :func:`napari_mtlpath.zoo.pixel_load.load_pixel_model`.
    """
    folder = find(name_or_path, kind=MODELS_FOLDER) or find(name_or_path, kind=PIXEL_MODELS_FOLDER)
    if folder is None:
        raise not_found(name_or_path, [card.name for card in list_any()], noun="model")
    if is_pixel_model(folder):
        from napari_mtlpath.zoo.pixel_load import load_pixel_model

        return load_pixel_model(folder, device=device)
    return load_model(folder, device=device, precision=precision, backend=backend)


def list_any() -> tuple[ModelCard | PixelCard, ...]:
    """Return the cards of all models that can be read: those of slides first, each kind by name."""
    entries = scan(PIXEL_MODELS_FOLDER, read_pixel_card).values()
    return (*list_models(), *(entry for entry in entries if isinstance(entry, PixelCard)))


def is_pixel_model(folder: Path) -> bool:
    """Whether the card in a model's folder says that it is one of pixels.

    Raises
    ------
    FileNotFoundError, CardError
        If there is no card, or it cannot be read.
    """
    return read_toml(folder / MODEL_FILE, newest=FORMAT).get("kind") == PIXELS
