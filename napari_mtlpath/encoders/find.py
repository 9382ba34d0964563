"""Name -> card of an encoder: from a folder, from timm, or from the Hugging Face Hub; no network is built."""

import difflib
import json
from collections.abc import Sequence
from pathlib import Path

from napari_mtlpath.encoders.cards import ENCODER_FILE, EncoderCard, read_encoder_card
from napari_mtlpath.encoders.hub import HUB_PREFIX, hub_file
from napari_mtlpath.folders import model_folders

TIMM_PREFIX = "timm:"
ENCODERS_FOLDER = "tile-encoders"


class EncoderNotFound(FileNotFoundError):
    """No encoder has that name; the message names the nearest one."""


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
