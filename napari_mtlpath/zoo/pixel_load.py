"""Name -> ready pixel model and back, and the list of the pixel models that there are."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from napari_mtlpath.encoders.card_file import CardError
from napari_mtlpath.encoders.load import refuse_pickles
from napari_mtlpath.encoders.readme import figures_text, provenance_text, readme, tile_text
from napari_mtlpath.nn.pixels.network import PixelNetwork
from napari_mtlpath.plugins import PluginFolder
from napari_mtlpath.processors import Processor
from napari_mtlpath.weights import check_fit, load_weights, read_weights
from napari_mtlpath.zoo.card import MODEL_FILE, MODEL_WEIGHTS
from napari_mtlpath.zoo.device import pick_device
from napari_mtlpath.zoo.model_folder import write_model
from napari_mtlpath.zoo.pixel_card import PIXEL_MODELS_FOLDER, PixelCard, pixel_toml, read_pixel_card
from napari_mtlpath.zoo.pixel_model import PixelModel
from napari_mtlpath.zoo.places import BrokenModel, find, not_found, scan

PIXEL_NETWORKS: PluginFolder[PixelNetwork] = PluginFolder(
    "napari_mtlpath.nn.pixel_networks",
    contract=PixelNetwork,  # type: ignore[type-abstract]  # a contract is abstract by nature
    noun="pixel network",
)


def load_pixel_model(name_or_path: str | Path, *, device: str | Processor = "auto") -> PixelModel:
    """Load a pixel model completely checked, or not at all.

    Parameters
    ----------
    name_or_path
        The name of a folder below ``pixel-models/`` of a models folder, or a path to such a folder.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    ModelNotFound
        If there is no such model; the message names the nearest one.
    CardError, WeightsError
        If card or weights are refused: one sentence says why.
    ValueError
        If the device cannot be used here.
    """
    folder = find_pixel_model(name_or_path)
    card = read_pixel_card(folder)
    place = pick_device(device)
    refuse_pickles(folder)
    if not card.weights_sha256:
        raise CardError(f"Model {card.name!r} states no weights_sha256. Save it again with save_pixel_model.")
    state = read_weights(folder / MODEL_WEIGHTS, sha256=card.weights_sha256)
    return PixelModel(card=card, network=_network_of(card, state), device=place)


def list_pixel_models() -> tuple[PixelCard, ...]:
    """Return the cards of all pixel models that can be read, by name; the first of a name hides later ones."""
    entries = scan(PIXEL_MODELS_FOLDER, read_pixel_card).values()
    return tuple(entry for entry in entries if isinstance(entry, PixelCard))


def broken_pixel_models() -> tuple[BrokenModel, ...]:
    """Return the folders among the pixel models whose card cannot be used, each with its reason."""
    entries = scan(PIXEL_MODELS_FOLDER, read_pixel_card).values()
    return tuple(entry for entry in entries if isinstance(entry, BrokenModel))


def find_pixel_model(name_or_path: str | Path) -> Path:
    """Return the folder of a pixel model by name or path; raise ModelNotFound with the nearest name."""
    found = find(name_or_path, kind=PIXEL_MODELS_FOLDER)
    if found is None:
        raise not_found(name_or_path, list(scan(PIXEL_MODELS_FOLDER, read_pixel_card)), noun="pixel model")
    return found


def save_pixel_model(
    folder: Path, card: PixelCard, state: Mapping[str, Tensor], *, files: Mapping[str, str] | None = None
) -> PixelCard:
    """Save a pixel model as a model folder, replacing one that is there.

    Parameters
    ----------
    folder
        Where to; its name must be the card's.
    card
        The card; its `weights_sha256` and `folder` are filled in here.
    state
        ``network.state_dict()``, stored as float16.
    files
        More text files of the folder, by name.

    Returns
    -------
    The card as it was written. Load the model again before measuring it: float16 rounds the weights.
    """
    return write_model(
        folder,
        card,
        state,
        texts=lambda written: {MODEL_FILE: pixel_toml(written), "README.md": pixel_readme(written), **(files or {})},
    )


def pixel_readme(card: PixelCard) -> str:
    """Return README.md of a pixel model's folder, with all headings that every model's README has."""
    questions = "\n".join(
        f"- `{task.name}` ({task.kind}): {task.question or task.title or task.name}" for task in card.tasks
    )
    use = (
        f"`mtlpath predict SLIDE --model {card.name} --out FOLDER`, or choose it in the viewer.\n\n{questions}\n\n"
        f"{tile_text(card.tile)} Network: `{card.network}`. SHA-256 of `{MODEL_WEIGHTS}`: `{card.weights_sha256}`."
    )
    sections = {
        "Made for": card.made_for,
        "Use": use,
        "Data and training": f"Masks: {card.masks or 'not stated'}\n\n{provenance_text(card.provenance)}",
        "Figures": figures_text(card.metrics),
        "Limits": card.limits,
        "Licence and attribution": f"{card.licence}. {card.attribution}".strip(),
    }
    return readme(title=card.title or card.name, summary=card.summary, sections=sections)


def _network_of(card: PixelCard, state: Mapping[str, Tensor]) -> PixelNetwork:
    """Build the network and load its weights; one that does not fit them is never given memory."""
    kind, what = PIXEL_NETWORKS.load(card.network), f"The weights of model {card.name!r}"
    with torch.device("meta"):
        check_fit(kind.build(tasks=card.tasks, options=card.options), state, what=what)
    network = kind.build(tasks=card.tasks, options=card.options)
    load_weights(network, state, what=what)
    return network
