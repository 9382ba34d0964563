"""Where the folders of models lie: found by name or path, and all of one kind listed."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from napari_mtlpath.folders import PATIENTS_SUFFIX, model_folders
from napari_mtlpath.zoo.card import MODEL_FILE, MODEL_WEIGHTS

Card = TypeVar("Card")


class ModelNotFound(FileNotFoundError):
    """No model has that name; the message names the nearest one."""


@dataclass(frozen=True, kw_only=True)
class BrokenModel:
    """A folder among the models whose card cannot be used, with the reason in one sentence."""

    name: str
    folder: Path
    reason: str


def scan(kind: str, read: Callable[[Path], Card]) -> Mapping[str, Card | BrokenModel]:
    """Return what lies in the folders called `kind` of all models folders, by name; the first of a name hides others.

    Parameters
    ----------
    kind
        Such as ``"slide-models"``.
    read
        Reads the card of a folder.
    """
    found: dict[str, Card | BrokenModel] = {}
    for models in model_folders():
        for folder in (models / kind).glob("*"):
            if folder.is_dir() and not _is_no_model(folder) and folder.name not in found:
                found[folder.name] = _entry(folder, read)
    return {name: found[name] for name in sorted(found)}


def find(name_or_path: str | Path, *, kind: str) -> Path | None:
    """Return the folder of a model by path, or by name among those of a kind; None where there is none."""
    name, path = str(name_or_path), Path(name_or_path)
    if (path / MODEL_FILE).is_file():
        return path
    for folder in model_folders():
        # A name, not a path: `..` and separators never lead out of the models folder.
        if path.name == name and (folder / kind / name).is_dir():
            return folder / kind / name
    return None


def not_found(name_or_path: str | Path, known: list[str], *, noun: str) -> ModelNotFound:
    """Return the error for a name that is not among the `known` ones, with the nearest one."""
    nearest = difflib.get_close_matches(str(name_or_path), known, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return ModelNotFound(
        f"There is no {noun} {str(name_or_path)!r}.{hint} Known: {', '.join(known) or 'none'}; "
        f"or a folder with a {MODEL_FILE}."
    )


def _is_no_model(folder: Path) -> bool:
    """Whether a folder among the models is what a killed save left, or what names the patients of a model."""
    private = folder.name.endswith(PATIENTS_SUFFIX) and not (folder / MODEL_FILE).is_file()
    return private or folder.name.startswith(".")


def _entry(folder: Path, read: Callable[[Path], Card]) -> Card | BrokenModel:
    try:
        card = read(folder)
    except (ValueError, OSError) as error:
        return BrokenModel(name=folder.name, folder=folder, reason=str(error))
    if not (folder / MODEL_WEIGHTS).is_file():
        reason = f"There is no {MODEL_WEIGHTS} beside its card. Get the model again from where it came."
        return BrokenModel(name=folder.name, folder=folder, reason=reason)
    return card
