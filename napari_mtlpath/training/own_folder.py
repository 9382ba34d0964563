"""Where the result of a training lies unless its user says otherwise: among their own models."""

from pathlib import Path

from napari_mtlpath.folders import data_folder
from napari_mtlpath.training.config.data import CohortBags
from napari_mtlpath.training.config.pixels import PixelsConfig
from napari_mtlpath.training.config.train_config import BagsConfig, TrainConfig


def own_folder(config: TrainConfig) -> Path:
    """Return the folder below the user's data folder that a training of `config` writes to.

    Several models of one config (folds) lie below ``runs/``: each is loaded by its path.
    """
    models = data_folder() / "models"
    match config:
        case BagsConfig(data=CohortBags(folds=folds)) if folds:
            return data_folder() / "runs" / config.name
        case BagsConfig():
            return models / "slide-models" / config.name
        case PixelsConfig():
            return models / "pixel-models" / config.name
        case _:
            return models / "tile-encoders" / config.name
