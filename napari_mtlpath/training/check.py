"""What a config would train, found out without training: data read, tables checked, the network built."""

from collections.abc import Iterator
from pathlib import Path

import torch

from napari_mtlpath.tasks import Classification
from napari_mtlpath.training.bags.bag_sampling import bags_per_epoch
from napari_mtlpath.training.bags.bags import BagSource
from napari_mtlpath.training.cohorts.cohort_bags import CohortBagSource
from napari_mtlpath.training.config.pixels import PixelsConfig
from napari_mtlpath.training.config.pool import PoolConfig
from napari_mtlpath.training.config.slide_aware import SlideAwareConfig
from napari_mtlpath.training.config.train_config import BagsConfig, TilesConfig, TrainConfig
from napari_mtlpath.training.distillation import load_teacher
from napari_mtlpath.training.end_to_end.job import bags_job
from napari_mtlpath.training.loop.job import Job
from napari_mtlpath.training.pixels.pixels_job import PixelsJob
from napari_mtlpath.training.pixels.sources import pixel_data
from napari_mtlpath.training.pool.pool_job import pool_job
from napari_mtlpath.training.pool.task_pool import about_task
from napari_mtlpath.training.slide_aware.job import SlideAwareJob
from napari_mtlpath.training.slide_aware.sources import slide_tiles
from napari_mtlpath.training.sources import bag_sources, tile_data
from napari_mtlpath.training.tile_training.tiles_job import TilesJob


def check(config: TrainConfig, *, data: tuple[Path, ...] = (), device: torch.device | None = None) -> Iterator[str]:
    """Yield what a config would train, one sentence at a time: data by part and task, steps, size of the network.

    Raises
    ------
    ValueError, FileNotFoundError, ImportError
        As training would before its first step; all faults of tables at once.
    """
    place = device or torch.device("cpu")
    match config:
        case TilesConfig():
            job = TilesJob(config, tile_data(config.data, folders=data), device=place)
            yield from (f"{key}: {value}." for key, value in job.data.facts.items())
            yield from _about(job, config)
        case SlideAwareConfig():
            pretraining = SlideAwareJob(config, slide_tiles(config, folders=data), device=place)
            yield from (f"{key}: {value}." for key, value in pretraining.data.facts.items())
            yield from _about(pretraining, config)
        case PoolConfig():
            pooled = pool_job(config, folders=data, device=place)
            yield from (sentence for task in pooled.pool.tasks for sentence in about_task(task))
            yield from _about(pooled, config)
        case PixelsConfig():
            drawn = PixelsJob(config, pixel_data(config, folders=data), device=place)
            yield from (f"{key}: {value}." for key, value in drawn.data.facts.items())
            yield f"masks: {drawn.data.masks}."
            yield from _about(drawn, config)
        case BagsConfig():
            sources = bag_sources(config, folders=data, device=place)
            for number, source in enumerate(sources, start=1):
                if len(sources) > 1:
                    yield f"Fold {number} of {len(sources)}:"
                yield from _parts(source)
            yield from _teacher(config, sources[0], place)
            yield from _about(bags_job(config, sources[0], device=place), config)


def _parts(source: BagSource) -> Iterator[str]:
    if not isinstance(source, CohortBagSource):
        yield from (f"{key}: {value}." for key, value in source.facts.items())
        return
    for name, bags in source.parts.items():
        known = []
        for column, task in enumerate(source.tasks):
            labels = bags.labels[:, column]
            if isinstance(task, Classification):
                counts = (f"{int((labels == code).sum())} {word}" for code, word in enumerate(task.classes))
                known.append(f"{task.name}: {', '.join(counts)}")
            else:
                known.append(f"{task.name}: {int((~labels.isnan()).sum())} values")
        yield f"{name}: {len(bags)} bags ({'; '.join(known)})."


def _teacher(config: BagsConfig, source: BagSource, place: torch.device) -> Iterator[str]:
    table = config.distillation
    if table is None:
        return
    if not table.teacher:
        epochs = table.teacher_epochs or config.optimisation.epochs
        count = bags_per_epoch(source, config.sampling.model_copy(update={"bags": table.teacher_sampling}))
        yield f"A teacher is trained first, for {epochs} epochs of {count} bags ({table.teacher_sampling})."
        return
    teacher = load_teacher(table.teacher, encoder=source.encoder, tasks=source.tasks, device=place)
    yield f"The teacher is {teacher.card.name} ({teacher.card.weights_sha256[:12]}…)."


def _about(job: Job, config: TrainConfig) -> Iterator[str]:
    yield from job.warnings()
    learned = sum(parameter.numel() for parameter in job.module.parameters() if parameter.requires_grad)
    settings = config.optimisation
    yield (
        f"{type(job.module).__name__} with {learned:,} parameters learns for {settings.epochs} epochs of "
        f"{job.steps_per_epoch} batches of {settings.batch}."
    )
