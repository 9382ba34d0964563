"""Where this program keeps its files on each system: caches, memories and the user's own models."""

import os
from pathlib import Path

import platformdirs

APPLICATION = "napari-mtlpath"


def _home() -> Path | None:
    home = os.environ.get("MTLPATH_HOME")
    return Path(home) if home else None


def cache_folder() -> Path:
    """Return the folder for what can be made again (features, sample slides); made on first use.

    ``MTLPATH_HOME`` moves everything below one folder of your choice.
    """
    home = _home()
    folder = home / "cache" if home else Path(platformdirs.user_cache_dir(APPLICATION, appauthor=False))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def data_folder() -> Path:
    """Return the folder for what a user would miss (typed resolutions, own models); made on first use."""
    home = _home()
    folder = home / "data" if home else Path(platformdirs.user_data_dir(APPLICATION, appauthor=False))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def packaged_models() -> Path:
    """Return the folder of the models that come with the program."""
    return Path(__file__).parent / "models"


def model_folders() -> tuple[Path, ...]:
    """Return the folders that models are looked up in, first match wins; those that exist.

    They are the path list ``MTLPATH_MODELS``, the user's own models, and the models that come with the program.
    """
    listed = [Path(entry) for entry in os.environ.get("MTLPATH_MODELS", "").split(os.pathsep) if entry]
    candidates = [*listed, data_folder() / "models", packaged_models()]
    return tuple(folder for folder in candidates if folder.is_dir())


PATIENTS_SUFFIX = ".patients"


def patients_folder(model: Path) -> Path:
    """Return the folder beside a model's that holds what names patients, so that the model's can be shared as it is.

    Examples
    --------
    >>> patients_folder(Path("models/mecds")).as_posix()
    'models/mecds.patients'
    """
    place = model if model.name else model.resolve()
    return place.with_name(place.name + PATIENTS_SUFFIX)
