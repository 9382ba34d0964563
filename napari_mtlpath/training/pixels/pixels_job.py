"""Training of a network on tiles with masks: tasks of pixels and of tiles together, labels partial."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from napari_mtlpath.evaluation.segmentation import mean_dice
from napari_mtlpath.nn.pixels.network import PixelNetwork
from napari_mtlpath.tasks import AnyTask, Classification, PixelRegression, Segmentation
from napari_mtlpath.training.config.pixels import PixelsConfig
from napari_mtlpath.training.evaluation import accuracy, r2
from napari_mtlpath.training.loop.averaging import round_to_float16
from napari_mtlpath.training.loop.job import Job, Validation
from napari_mtlpath.training.losses.pixels import UNKNOWN_PIXEL, absolute_loss, combo_loss
from napari_mtlpath.training.losses.supervised import task_losses
from napari_mtlpath.training.pixels.fields import fields_of, laid_down
from napari_mtlpath.training.pixels.pixel_answers import PixelFacts, answer_facts, known_labels
from napari_mtlpath.training.pixels.pixel_data import LabelledPixels, PixelData
from napari_mtlpath.training.pixels.pixel_figures import pixel_figures
from napari_mtlpath.training.pixels.publish_pixels import publish_pixels
from napari_mtlpath.training.tile_training.augment import TURNS
from napari_mtlpath.zoo.pixel_load import PIXEL_NETWORKS


class PixelsJob(Job):
    """Trains a :class:`PixelNetwork` on labelled pixels.

    Parameters
    ----------
    config
        Of kind "pixels".
    data
        With the tasks that the config names.
    device
        Where to train.
    """

    module: PixelNetwork

    def __init__(self, config: PixelsConfig, data: PixelData, *, device: torch.device) -> None:
        self.config = config
        self.data = data.only(config.tasks)
        self.device = device
        self.module = (
            PIXEL_NETWORKS.load(config.network.name)
            .build(
                tasks=self.data.tasks,
                options=config.network.options,
                generator=torch.Generator().manual_seed(config.seed),
            )
            .to(device)
        )
        self.batch = min(config.optimisation.batch, len(self.data.train))
        if self.batch < 2:
            raise ValueError(
                "Batch normalisation needs at least two tiles at a time; found one. Raise optimisation.batch."
            )
        self.steps_per_epoch = len(self.data.train) // self.batch

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[LabelledPixels]:
        """Yield random batches without repetition, some of their tiles windows of fields, all changed at random."""
        train = self.data.train
        order = torch.randperm(len(train), generator=generator)
        for step in range(self.steps_per_epoch):
            chosen = order[step * self.batch : (step + 1) * self.batch]
            # One count for every batch, not one by chance: the steps stay alike.
            windows = round(self.data.fields * len(chosen))
            batch = train.part(chosen[windows:])
            if windows:
                batch = fields_of(train, chosen[:windows], generator).joined(batch)
            yield self._changed(batch, generator)

    def batch_losses(self, batch: LabelledPixels) -> dict[str, Tensor]:
        """Return each task's loss: combo for masks, absolute error for values, and that of tile encoders for tiles."""
        wanted = [task.name for task in self.data.tasks if self._count(task, batch)]
        if not wanted:
            return {}
        said = self.module(batch.tiles.to(self.device), wanted=wanted).tasks
        whole = self.data.tile_tasks
        logits = {task.name: said[task.name] for task in whole if task.name in wanted}
        losses = task_losses(whole, logits, batch.labels.to(self.device)) if whole else {}
        for task in self.data.pixel_tasks:
            if task.name in wanted:
                truth = batch.pixels[task.name].to(self.device)
                loss = combo_loss if isinstance(task, Segmentation) else absolute_loss
                losses[task.name] = loss(said[task.name], truth)
        return {name: losses[name] for name in wanted}

    def label_counts(self, batch: LabelledPixels) -> dict[str, int]:
        """Return how many labels each task's mean is over: known pixels, or tiles."""
        counts = {task.name: self._count(task, batch) for task in self.data.tasks}
        return {name: count for name, count in counts.items() if count}

    def split(self, batch: LabelledPixels) -> tuple[LabelledPixels, LabelledPixels] | None:
        """Return the two halves of a batch; batch normalisation needs two tiles in each."""
        middle = len(batch) // 2
        if middle < 2:
            return None
        return batch.part(slice(None, middle)), batch.part(slice(middle, None))

    def validation_batch(self, generator: torch.Generator) -> LabelledPixels:
        """Draw tiles from those that the best epoch is chosen by."""
        return self.data.selection.part(torch.randperm(len(self.data.selection), generator=generator)[: self.batch])

    def warnings(self) -> list[str]:
        """Return what a person should know about the labels before training starts."""
        said = []
        for task in self.data.pixel_tasks:
            truth = self.data.train.pixels[task.name]
            if isinstance(task, Segmentation):
                missing = [name for code, name in enumerate(task.classes) if not bool((truth == code).any())]
                if missing:
                    said.append(f"Task {task.name!r} has no pixel of {', '.join(missing)} in the training part.")
        for whole in self.data.tile_tasks:
            labels, known = known_labels(self.data.tasks, self.data.train, whole.name)
            if len(np.unique(labels[known])) < 2:
                said.append(f"Task {whole.name!r} has fewer than two different labels in the training part.")
        return said

    def validate(self) -> Validation:
        """Judge by the mean over tasks: Dice of masks, accuracy of classes, explained variance or share of values."""
        facts = answer_facts(self.module, self.data.selection, device=self.device)
        metrics, scores = {}, {}
        for task in self.data.tasks:
            name, score = self._score(task, facts)
            if math.isfinite(score):
                metrics[f"{task.name} {name}"] = scores[task.name] = score
        score = float(np.mean(list(scores.values()))) if scores else math.nan
        return Validation(score=score, metrics=metrics, scores=scores)

    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        """Write the model's folder, with figures measured on its float16 weights."""
        round_to_float16(self.module)
        self.module.eval()
        answered = {name: answer_facts(self.module, side, device=self.device) for name, side in self.data.tests.items()}
        return publish_pixels(
            folder,
            config=self.config,
            data=self.data,
            network=self.module,
            metrics=pixel_figures(self.data, answered),
            facts=facts,
        )

    def _score(self, task: AnyTask, facts: PixelFacts) -> tuple[str, float]:
        match task:
            case Segmentation():
                return "dice", float(mean_dice(facts.overlaps[task.name])[0])
            case PixelRegression():
                errors = facts.errors[task.name].sum(axis=0)
                return "closeness", 1 - float(errors[0] / errors[1]) / (task.high - task.low)
            case _:
                truth, known = known_labels(self.data.tasks, self.data.selection, task.name)
                said = facts.answers[task.name]
                if isinstance(task, Classification):
                    return "accuracy", accuracy(truth[known], said[known]) if known.any() else math.nan
                return "r2", r2(truth[known], said[known]) if known.sum() > 1 else math.nan

    def _count(self, task: AnyTask, batch: LabelledPixels) -> int:
        match task:
            case Segmentation():
                return int((batch.pixels[task.name] != UNKNOWN_PIXEL).sum())
            case PixelRegression():
                return int((~batch.pixels[task.name].isnan()).sum())
            case _:
                column = [each.name for each in self.data.tile_tasks].index(task.name)
                return int((~batch.labels[:, column].isnan()).sum())

    def _changed(self, batch: LabelledPixels, generator: torch.Generator) -> LabelledPixels:
        table = self.config.augmentation
        if table.dihedral:
            turns = torch.randint(TURNS, (len(batch),), generator=generator)
            pixels = {name: laid_down(each, turns) for name, each in batch.pixels.items()}
            batch = replace(batch, tiles=laid_down(batch.tiles, turns), pixels=pixels)
        return replace(batch, tiles=table.colours().apply(batch.tiles, generator))
