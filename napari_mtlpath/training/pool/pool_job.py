"""Pre-training of a tile encoder on a pool: batches of several tasks, each sample through its own head."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_mtlpath.encoders.load import FAMILIES, load_encoder
from napari_mtlpath.training.config.pool import PoolConfig
from napari_mtlpath.training.loop.averaging import round_to_float16
from napari_mtlpath.training.loop.distributed import current
from napari_mtlpath.training.loop.job import Job, Validation
from napari_mtlpath.training.losses.supervised import task_loss
from napari_mtlpath.training.pool.adapt_norms import adapt_batch_norms
from napari_mtlpath.training.pool.parts import Part
from napari_mtlpath.training.pool.pictures import read_tiles
from napari_mtlpath.training.pool.pool_answers import answers_of, can_be_judged, features_of, metric_of, part_of
from napari_mtlpath.training.pool.pool_network import PoolNetwork
from napari_mtlpath.training.pool.publish_pool import publish_pool
from napari_mtlpath.training.pool.sampler import TaskSampler
from napari_mtlpath.training.pool.task_pool import TaskPool, read_pool


@dataclass(frozen=True, kw_only=True, eq=False)
class PoolBatch:
    """Samples of several tasks.

    Attributes
    ----------
    tiles
        RGB, [sample, y, x, 3].
    tasks
        Index of each sample's task, [sample].
    labels
        Class index within that task, [sample].
    """

    tiles: UInt8[Tensor, "sample y x 3"]
    tasks: Int64[Tensor, " sample"]
    labels: Int64[Tensor, " sample"]


class PoolJob(Job):
    """Trains a :class:`PoolNetwork` on a pool of tasks.

    Parameters
    ----------
    config
        How.
    pool
        The tasks to learn from, those that are left out already taken away.
    device
        Where.

    Raises
    ------
    ValueError
        If several processes train together, or the encoder to start from takes other tiles.
    """

    module: PoolNetwork

    def __init__(self, config: PoolConfig, pool: TaskPool, *, device: torch.device) -> None:
        if current().size > 1:
            raise ValueError("A pool's heads are scaled by their share of one whole batch: train it in one process.")
        self.config = config
        self.pool = pool
        self.device = device
        self.sampler = TaskSampler([len(task.parts[Part.TRAIN]) for task in pool.tasks])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.module = self._built().to(device)
        self.adapted_norms = self._adapt()
        self.steps_per_epoch = config.optimisation.steps_per_epoch

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[PoolBatch]:
        """Yield batches drawn task first, then image, their tiles changed at random."""
        for _ in range(self.steps_per_epoch):
            yield self.draw(self.config.optimisation.batch, generator)

    def draw(self, count: int, generator: torch.Generator) -> PoolBatch:
        """Return a batch of training samples."""
        tasks, places = self.sampler.draw(count, generator)
        px = int(self.pool.spec.tile_px)
        tiles, labels = torch.empty((count, px, px, 3), dtype=torch.uint8), torch.empty(count, dtype=torch.int64)
        for index, task in enumerate(self.pool.tasks):
            own = torch.nonzero(tasks == index)[:, 0]
            samples = task.parts[Part.TRAIN]
            chosen = places[own].numpy()
            tiles[own] = read_tiles(samples.pictures, samples.items[chosen].tolist(), tile_px=px, generator=generator)
            labels[own] = torch.from_numpy(samples.labels[chosen])
        return PoolBatch(
            tiles=self.config.augmentation.augmentation().apply(tiles, generator), tasks=tasks, labels=labels
        )

    def batch_losses(self, batch: PoolBatch) -> dict[str, Tensor]:
        """Return by task present its loss, times its share of the batch and the number of tasks present.

        The mean of these over the tasks is the mean over the samples (Mormont et al., 2021, eq. 1).
        """
        tasks, labels = batch.tasks.to(self.device), batch.labels.to(self.device)
        logits = self.module(batch.tiles.to(self.device), tasks)
        smoothing = self.config.encoder.label_smoothing
        losses = {}
        for task, own in self.module.present(tasks):
            mean = task_loss(task, logits[task.name], labels[own].float(), smoothing=smoothing)
            losses[task.name] = mean * (len(logits) * int(own.sum()) / len(tasks))
        return losses

    def validation_batch(self, generator: torch.Generator) -> PoolBatch:
        """Draw samples that the best epoch is chosen by, as a training batch is drawn."""
        drawn = [self._held_out(index, generator) for index in range(len(self.pool.tasks))]
        return PoolBatch(
            tiles=torch.cat([tiles for tiles, _ in drawn]),
            tasks=torch.cat([torch.full((len(labels),), index) for index, (_, labels) in enumerate(drawn)]),
            labels=torch.cat([labels for _, labels in drawn]),
        )

    def rate_factors(self) -> Sequence[tuple[float, Sequence[nn.Parameter]]]:
        """Return the heads, whose learning rate is the network's times a number."""
        return [(self.config.heads.rate_factor, list(self.module.heads.parameters()))]

    def begin_step(self, step: int, *, rate: float) -> float:
        """Freeze the network for the first steps, in which the heads learn at a rate of their own."""
        heads = self.config.heads
        warm = step < heads.warmup_steps
        self.module.freeze(warm)
        return heads.warmup_rate / heads.rate_factor if warm else rate

    def warnings(self) -> list[str]:
        """Return what a person should know about the tasks before training starts."""
        said = []
        for task in self.pool.tasks:
            seen = set(task.parts[Part.TRAIN].labels.tolist())
            absent = [name for code, name in enumerate(task.task.classes) if code not in seen]
            if absent:
                said.append(f"Task {task.name!r} has no training picture of {', '.join(absent)}.")
            if not can_be_judged(task, Part.VALIDATION):
                said.append(f"Task {task.name!r} has one class to validate by: it does not choose the best epoch.")
        return said

    def validate(self) -> Validation:
        """Judge each task by accuracy, or by the area under the ROC curve; the score is their mean."""
        logits, scores = self.logits(Part.VALIDATION), {}
        for task in self.pool.tasks:
            if can_be_judged(task, Part.VALIDATION):
                truth = task.parts[Part.VALIDATION].labels.astype(np.float64)
                scores[task.name] = metric_of(task.task)[1](truth, answers_of(task.task, logits[task.name]))
        mean = float(np.mean(list(scores.values()))) if scores else math.nan
        return Validation(score=mean, metrics={"mean accuracy or AUC": mean}, scores=scores)

    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        """Write the encoder's folder and the tile model, with figures measured on float16 weights and the test part."""
        round_to_float16(self.module)
        self.module.eval()
        moved = {"batch_norms_moved": self.adapted_norms} if self.adapted_norms else {}
        return publish_pool(
            folder,
            config=self.config,
            pool=self.pool,
            module=self.module,
            logits=self.logits(Part.TEST),
            facts={**facts, **moved},
        )

    def logits(self, part: Part) -> dict[str, Float[NDArray[np.float32], "sample output"]]:
        """Return by task the logits of the samples of a part."""
        px = int(self.pool.spec.tile_px)
        found = features_of(self.module.network, part_of(self.pool.tasks, part), tile_px=px, device=self.device)
        answers = {}
        with torch.inference_mode():
            for name, features in found.items():
                answers[name] = self.module.heads[name](torch.from_numpy(features).to(self.device)).cpu().numpy()
        return answers

    def _built(self) -> PoolNetwork:
        table, px = self.config.encoder, int(self.pool.spec.tile_px)
        if table.start_from:
            encoder = load_encoder(table.start_from)
            if encoder.tile_px != px:
                raise ValueError(
                    f"encoder.start_from takes tiles of {encoder.tile_px} px; tile.tile_px is {px}. Make them equal."
                )
        else:
            options = {"tile_px": px, **table.options}
            encoder = FAMILIES.load(table.family).build(name=self.config.name, options=options, state=None)
        return PoolNetwork(
            encoder.module.requires_grad_(True),
            features=encoder.features,
            tasks=[task.task for task in self.pool.tasks],
            dropout=table.dropout,
        )

    def _adapt(self) -> int:
        """Move the batch norms of an encoder that was trained elsewhere; return how many."""
        table = self.config.domain
        if not self.config.encoder.start_from or table.batches == 0:
            return 0
        generator = torch.Generator().manual_seed(self.config.seed)
        batch = self.config.optimisation.batch
        drawn = (self.draw(batch, generator).tiles.to(self.device) for _ in range(table.batches))
        return adapt_batch_norms(self.module.network, drawn, pooled=table.variance == "pooled")

    def _held_out(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        samples = self.pool.tasks[index].parts[Part.VALIDATION]
        share = max(1, self.config.optimisation.batch // len(self.pool.tasks))
        chosen = torch.randperm(len(samples), generator=generator)[:share].numpy()
        px = int(self.pool.spec.tile_px)
        return read_tiles(samples.pictures, samples.items[chosen].tolist(), tile_px=px), torch.from_numpy(
            samples.labels[chosen]
        )


def pool_job(config: PoolConfig, *, folders: tuple[Path, ...] = (), device: torch.device) -> PoolJob:
    """Return the job of a config: its pool read, and the sets that it leaves out taken away.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`napari_mtlpath.training.pool.task_pool.read_pool`.
    """
    return PoolJob(config, read_pool(config, folders=folders).without(config.leave_out), device=device)
