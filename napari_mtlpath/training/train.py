"""`train`: config -> model folder, as a generator of reports."""

from collections.abc import Iterator
from pathlib import Path

import torch

from napari_mtlpath.folders import data_folder
from napari_mtlpath.training.config.pixels import PixelsConfig
from napari_mtlpath.training.config.pool import PoolConfig
from napari_mtlpath.training.config.slide_aware import SlideAwareConfig
from napari_mtlpath.training.config.train_config import BagsConfig, TilesConfig, TrainConfig, config_key
from napari_mtlpath.training.loop.distributed import joined, own_device
from napari_mtlpath.training.loop.job import Job
from napari_mtlpath.training.loop.report import TrainingReport
from napari_mtlpath.training.pixels.pixels_job import PixelsJob
from napari_mtlpath.training.pixels.sources import pixel_data
from napari_mtlpath.training.pool.pool_job import pool_job
from napari_mtlpath.training.run import Run
from napari_mtlpath.training.slide_aware.job import SlideAwareJob
from napari_mtlpath.training.slide_aware.sources import slide_tiles
from napari_mtlpath.training.sources import tile_data
from napari_mtlpath.training.systems import train_bags
from napari_mtlpath.training.tile_training.tiles_job import TilesJob


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

    A config with folds or with a teacher to train first makes several models one after the other; the reports'
    `stage` says which. Closing the generator stops after the last whole step and keeps it: the same call goes
    on from there. Started by ``torchrun``, the processes train together (see
    :mod:`napari_mtlpath.training.loop.distributed`), each with every `size`-th batch of the same random order.

    Parameters
    ----------
    config
        From :func:`napari_mtlpath.training.config.train_config.read_config`.
    output
        The model folder to write; its name must be the model's. With folds, the folder that gets one per fold.
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
    MemoryError
        If not even half a batch fits into the memory.
    ConnectionError
        If another process of the training died.
    """
    folder = (runs or data_folder() / "runs") / config.name
    with joined():
        place = own_device(device or torch.device("cpu"))
        match config:
            case TilesConfig():
                job: Job = TilesJob(config, tile_data(config.data, folders=data), device=place)
                run = Run(config=config, output=output, folder=folder, key=config_key(config))
                yield from run.reports(job, resume=resume)
            case SlideAwareConfig():
                pretraining = SlideAwareJob(config, slide_tiles(config, folders=data), device=place)
                run = Run(config=config, output=output, folder=folder, key=config_key(config))
                yield from run.reports(pretraining, resume=resume)
            case PoolConfig():
                job = pool_job(config, folders=data, device=place)
                run = Run(config=config, output=output, folder=folder, key=config_key(config))
                yield from run.reports(job, resume=resume)
            case PixelsConfig():
                job = PixelsJob(config, pixel_data(config, folders=data), device=place)
                run = Run(config=config, output=output, folder=folder, key=config_key(config))
                yield from run.reports(job, resume=resume)
            case BagsConfig():
                yield from train_bags(config, output=output, folder=folder, data=data, device=place, resume=resume)
