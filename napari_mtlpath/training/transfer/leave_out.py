"""Leave one set out: a pool without it is learned from, and its tasks say how well that serves them."""

import itertools
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from napari_mtlpath.files import replacing
from napari_mtlpath.training.config.pool import PoolConfig
from napari_mtlpath.training.config.train_config import config_key
from napari_mtlpath.training.loop.report import TrainingReport
from napari_mtlpath.training.pool.parts import Part
from napari_mtlpath.training.pool.pool_job import PoolJob
from napari_mtlpath.training.pool.task_pool import TaskPool
from napari_mtlpath.training.run import Run
from napari_mtlpath.training.transfer.linear_probe import linear_probe
from napari_mtlpath.training.transfer.new_domain import transfer_features

SCORES_FILE = "scores.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class LeftOut:
    """What leaving every set out once came to.

    Attributes
    ----------
    settings
        What was varied, in words, one per row.
    tasks
        The left-out tasks, one per column.
    scores
        Accuracy, or area under the ROC curve, on the tasks' validation parts, [setting, task, seed].
    """

    settings: tuple[str, ...]
    tasks: tuple[str, ...]
    scores: Float[NDArray, "setting task seed"]

    @property
    def means(self) -> Float[NDArray, "setting task"]:
        """Mean over the seeds."""
        return np.asarray(self.scores.mean(axis=2))


def varied(vary: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return all combinations of values, as changes of a config; one without a change where nothing varies.

    Examples
    --------
    >>> varied(["heads.rate_factor=1,5", "seed=3"])
    (('heads.rate_factor=1', 'seed=3'), ('heads.rate_factor=5', 'seed=3'))
    """
    choices = []
    for each in vary:
        key, equals, values = each.partition("=")
        if not equals or not all(value.strip() for value in values.split(",")):
            raise ValueError(f"Expected KEY=VALUE,VALUE such as heads.rate_factor=1,5,10; found {each!r}.")
        choices.append([f"{key.strip()}={value.strip()}" for value in values.split(",")])
    return tuple(itertools.product(*choices))


def leave_one_out(
    settings: Mapping[str, PoolConfig],
    pool: TaskPool,
    *,
    seeds: Sequence[int],
    folder: Path,
    device: torch.device,
) -> Generator[TrainingReport, None, LeftOut]:
    """Train each setting without each set, for several seeds, and yield reports; what it returns holds the scores.

    The left-out tasks are transferred to by a linear SVM that learns from their training parts; their test parts are
    never touched (Mormont et al., 2021, section IV-D). Runs that are finished are not repeated.

    Parameters
    ----------
    settings
        By name: the config of a setting.
    pool
        All tasks.
    seeds
        Of the trainings; the division into parts stays the same.
    folder
        Where checkpoints and scores lie.
    device
        Where to train.

    Raises
    ------
    ValueError
        If the pool has one set only.
    """
    if len(pool.sets) < 2:
        raise ValueError(f"Leaving one set out needs at least two; the pool has {', '.join(pool.sets)}. Add tasks.")
    scores = np.full((len(settings), len(pool.tasks), len(seeds)), np.nan)
    names = [task.name for task in pool.tasks]
    for each in pool.sets:
        for row, (words, setting) in enumerate(settings.items()):
            for place, seed in enumerate(seeds):
                config = _without(setting, each, seed=seed, name=f"{each}-{row}-{seed}")
                stage = f"without {each}, {words or 'as configured'}, seed {seed}"
                found = yield from _run(config, pool, stage=stage, folder=folder, device=device)
                for task, score in found.items():
                    scores[row, names.index(task), place] = score
    return LeftOut(settings=tuple(settings), tasks=tuple(names), scores=scores)


def _without(setting: PoolConfig, left_out: str, *, seed: int, name: str) -> PoolConfig:
    changes: dict[str, Any] = {"seed": seed, "leave_out": (left_out,), "name": name}
    return setting.model_copy(update=changes)


def _run(
    config: PoolConfig, pool: TaskPool, *, stage: str, folder: Path, device: torch.device
) -> Generator[TrainingReport, None, dict[str, float]]:
    target = folder / config.name
    run = Run(config=config, output=target, folder=target, key=config_key(config), stage=stage)
    if not run.is_finished():
        job = _LeaveOutJob(config, pool, device=device)
        yield from run.reports(job, resume=True)
        run.note_finished()
    found: dict[str, float] = json.loads((target / SCORES_FILE).read_text("utf-8"))
    return found


class _LeaveOutJob(PoolJob):
    """Learns from the pool without a set, and publishes how its features serve that set."""

    def __init__(self, config: PoolConfig, pool: TaskPool, *, device: torch.device) -> None:
        super().__init__(config, pool.without(config.leave_out), device=device)
        self.left_out = pool.only(config.leave_out)

    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        """Write the score of every left-out task."""
        self.module.eval()
        found = probe_scores(self.module.network, self.left_out, device=self.device, seed=self.config.seed)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / SCORES_FILE) as temporary:
            temporary.write_text(json.dumps(found), encoding="utf-8")
        return folder


def probe_scores(network: torch.nn.Module, pool: TaskPool, *, device: torch.device, seed: int = 0) -> dict[str, float]:
    """Return by task how a linear SVM, fitted on the training part's features, does on the validation part."""
    features = transfer_features(
        network, pool.tasks, parts=(Part.TRAIN, Part.VALIDATION), tile_px=int(pool.spec.tile_px), device=device
    )
    return {
        task.name: linear_probe(
            task,
            {part: found[task.name] for part, found in features.items()},
            encoder="",
            fit=(Part.TRAIN,),
            judge=Part.VALIDATION,
            seed=seed,
        ).value
        for task in pool.tasks
    }
