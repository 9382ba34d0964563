"""Name -> ready encoder: from a folder with a card, from timm, or from the Hugging Face Hub."""

import difflib
import json
from collections.abc import Sequence
from pathlib import Path

from napari_mtlpath.encoders.card_file import CardError
from napari_mtlpath.encoders.cards import ENCODER_FILE, ENCODER_WEIGHTS, EncoderCard, read_encoder_card
from napari_mtlpath.encoders.encoder import Encoder, EncoderFamily
from napari_mtlpath.encoders.hub import HUB_PREFIX, hub_file
from napari_mtlpath.folders import model_folders
from napari_mtlpath.plugins import PluginFolder
from napari_mtlpath.weights import WeightsError, check_no_pickle, read_weights

TIMM_PREFIX = "timm:"
ENCODERS_FOLDER = "tile-encoders"

FAMILIES: PluginFolder[EncoderFamily] = PluginFolder(
    "napari_mtlpath.encoders.families",
    contract=EncoderFamily,  # type: ignore[type-abstract]  # a contract is abstract by nature
    noun="encoder family",
)


class EncoderNotFound(FileNotFoundError):
    """No encoder has that name; the message names the nearest one."""


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


def find_encoder_card(name_or_path: str | Path, *, models: Path | None = None) -> EncoderCard:
    """Return the card of an encoder without loading its weights."""
    name = str(name_or_path)
    if name.startswith(TIMM_PREFIX):
        return _card_of_library(name, family="timm", model=name.removeprefix(TIMM_PREFIX))
    if name.startswith(HUB_PREFIX):
        return _card_of_hub(name)
    path = Path(name_or_path)
    if (path / ENCODER_FILE).is_file():
        return read_encoder_card(path)
    folders = _folders(models)
    for folder in folders:
        # A name, not a path: `..` and separators never lead out of the models folder.
        if path.name == name and (folder / ENCODERS_FOLDER / name / ENCODER_FILE).is_file():
            return read_encoder_card(folder / ENCODERS_FOLDER / name)
    known = encoder_names(models=models)
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise EncoderNotFound(
        f"There is no tile encoder {name!r}.{hint} Known: {', '.join(known) or 'none'}; "
        "or 'timm:NAME', 'hf-hub:ORG/NAME', or a folder with an encoder.toml."
    )


def encoder_names(*, models: Path | None = None) -> tuple[str, ...]:
    """Return the sorted names of the encoders that have a card in one of the models folders."""
    pattern = f"{ENCODERS_FOLDER}/*/{ENCODER_FILE}"
    found = {card.parent.name for folder in _folders(models) for card in folder.glob(pattern)}
    return tuple(sorted(name for name in found if not name.startswith(".")))  # a dot: what a killed save left


def refuse_pickles(folder: Path) -> None:
    """Raise WeightsError if a folder brings a pickle instead of safetensors, with one sentence; it is never opened."""
    if not any(folder.glob("*.safetensors")):
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.suffix.lower() not in (".toml", ".md", ".txt", ".json", ".png"):
                check_no_pickle(path)


def _folders(models: Path | None) -> Sequence[Path]:
    return (models, *model_folders()) if models is not None else model_folders()


def _card_of_library(name: str, *, family: str, model: str) -> EncoderCard:
    slug = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)[:64]
    return EncoderCard(
        name=slug,
        family=family,
        options={"model": model, "pretrained": True},
        licence="as stated by its authors: see its page before use",
        weights=f"{name}, downloaded on first use",
    )


def _card_of_hub(name: str) -> EncoderCard:
    repository = name.removeprefix(HUB_PREFIX)
    config = json.loads(hub_file(repository, "config.json").read_text(encoding="utf-8"))
    if "architecture" in config:
        return _card_of_library(name, family="timm", model=name)
    return _card_of_library(name, family="transformers", model=repository)
