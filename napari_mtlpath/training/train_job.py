"""One job trained as its config says: balancing, checkpoints and event files included."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import torch

from napari_mtlpath.training.config.train_config import TrainConfig
from napari_mtlpath.training.loop.distributed import current
from napari_mtlpath.training.loop.event_log import EventLog
from napari_mtlpath.training.loop.job import Job
from napari_mtlpath.training.loop.loop import Loop
from napari_mtlpath.training.loop.report import TrainingReport
from napari_mtlpath.training.step.update import Update


def train_job(
    job: Job, config: TrainConfig, *, output: Path, folder: Path, key: str, resume: bool = True
) -> Generator[TrainingReport, None, None]:
    """Train a job and yield its reports; closing the generator stops after a whole step and keeps it.

    Parameters
    ----------
    job
        What is trained, made from `config`.
    config
        How it is optimised and balanced, and the seed.
    output
        The model folder to write.
    folder
        Where the checkpoint and TensorBoard's event files lie.
    key
        Which config and data a checkpoint belongs to.
    resume
        Whether to go on from a checkpoint in `folder`.

    Raises
    ------
    ValueError, FloatingPointError, MemoryError, ConnectionError
        As :meth:`napari_mtlpath.training.loop.loop.Loop.run`.
    """
    processes = current()
    log = EventLog(folder, starts_anew=not resume) if processes.leads else None
    with closing(make_loop(job, config, folder=folder, key=key).run(output=output, resume=resume)) as reports:
        try:
            for report in reports:
                if log is not None:
                    log.write(report)
                yield report
        finally:
            if log is not None:
                log.close()


def make_loop(job: Job, config: TrainConfig, *, folder: Path, key: str) -> Loop:
    """Return the loop of a job, its tasks balanced as the config says.

    Raises
    ------
    ValueError
        If the settings do not fit each other, the job or the machine.
    """
    place = next(job.module.parameters()).device
    try:
        update = Update(
            job.module,
            config.balancing.balancer(job.task_names).to(place),
            level=config.balancing.level,
            generator=torch.Generator().manual_seed(config.seed),
        )
    except TypeError as error:
        raise ValueError(f"balancing: {error}") from error
    return Loop(
        job,
        config.optimisation.settings(),
        seed=config.seed,
        folder=folder,
        key=key,
        update=update,
        cosines_every=config.balancing.cosines_every,
        processes=current(),
    )
