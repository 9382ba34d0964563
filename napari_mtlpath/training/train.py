"""`train`: config -> model folder, as a generator of reports."""

from collections.abc import Iterator
from pathlib import Path

import torch

from napari_mtlpath.folders import data_folder
from napari_mtlpath.training.bags_job import BagsJob
from napari_mtlpath.training.config import BagsConfig, TilesConfig, TrainConfig, config_key
from napari_mtlpath.training.job import Job
from napari_mtlpath.training.loop import Loop
from napari_mtlpath.training.report import TrainingReport
from napari_mtlpath.training.sources import bag_source, tile_data
from napari_mtlpath.training.tiles_job import TilesJob


def train(
    config: TrainConfig,
    *,
    output: Path,
    runs: Path | None = None,
    data: tuple[Path, ...] = (),
    device: torch.device | None = None,
    resume: bool = True,
) -> Iterator[TrainingReport]:
    """Train what `config` describes and yield reports; the last one names the model folder.

    Closing the generator cancels: nothing half-written stays, and the same call continues after the last whole epoch.

    Parameters
    ----------
    config
        From :func:`napari_mtlpath.training.config.read_config`.
    output
        The model folder to write; its name must be the model's.
    runs
        Where checkpoints lie (default: ``runs/`` in the user's data folder).
    data
        More folders to look for data files in.
    device
        Where to train (default: the CPU).
    resume
        Whether to continue from a checkpoint of the same config.

    Raises
    ------
    ValueError
        If the checkpoint belongs to another config.
    FileNotFoundError
        If data are missing.
    FloatingPointError
        If the loss stopped being finite before one epoch was finished.
    """
    job = build_job(config, data=data, device=device or torch.device("cpu"))
    folder = (runs or data_folder() / "runs") / config.name
    loop = Loop(job, config.optimisation.settings(), seed=config.seed, folder=folder, key=config_key(config))
    yield from loop.run(output=output, resume=resume)


def build_job(config: TrainConfig, *, data: tuple[Path, ...], device: torch.device) -> Job:
    """Return the job that a config describes, its data loaded."""
    match config:
        case TilesConfig():
            return TilesJob(config, tile_data(config.data, folders=data), device=device)
        case BagsConfig():
            return BagsJob(config, bag_source(config, folders=data, device=device), device=device)
