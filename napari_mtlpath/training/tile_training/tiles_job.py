"""Training of a tile encoder on labelled tiles, all tasks interleaved in every batch, labels partial."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from napari_mtlpath.encoders.load import FAMILIES, load_encoder
from napari_mtlpath.tasks import Classification
from napari_mtlpath.training.config.train_config import TilesConfig
from napari_mtlpath.training.evaluation import accuracy, macro_f1, r2
from napari_mtlpath.training.loop.averaging import round_to_float16
from napari_mtlpath.training.loop.job import Job, Validation
from napari_mtlpath.training.losses.supervised import label_counts, labelled_tasks, task_losses
from napari_mtlpath.training.tile_training.multi_head import MultiHead
from napari_mtlpath.training.tile_training.publish_encoder import publish_encoder
from napari_mtlpath.training.tile_training.tile_answers import answer_tiles
from napari_mtlpath.training.tile_training.tile_data import LabelledTiles, TileData
from napari_mtlpath.training.tile_training.tile_figures import encoder_figures


class TilesJob(Job):
    """Trains a :class:`MultiHead` network on labelled tiles."""

    module: MultiHead

    def __init__(self, config: TilesConfig, data: TileData, *, device: torch.device) -> None:
        self.config = config
        self.data = data
        self.device = device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.module = build_multi_head(config, data).to(device)
        if min(config.optimisation.batch, len(data.train.tiles)) < 2:
            raise ValueError(
                "Batch normalisation needs at least two tiles at a time; found one. Raise optimisation.batch."
            )
        self.steps_per_epoch = max(1, len(data.train.tiles) // config.optimisation.batch)

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[LabelledTiles]:
        """Yield random batches without repetition, their tiles changed at random; a tile brings what labels it has."""
        augmentation = self.config.augmentation.augmentation()
        batch = min(self.config.optimisation.batch, len(self.data.train.tiles))
        order = torch.randperm(len(self.data.train.tiles), generator=generator)
        for step in range(self.steps_per_epoch):
            chosen = order[step * batch : (step + 1) * batch]
            tiles = augmentation.apply(self.data.train.tiles[chosen], generator)
            yield LabelledTiles(tiles=tiles, labels=self.data.train.labels[chosen])

    def batch_losses(self, batch: LabelledTiles) -> dict[str, Tensor]:
        """Return each task's mean loss over the tiles that have its label."""
        labels = batch.labels.to(self.device)
        wanted = [task.name for _, task in labelled_tasks(self.data.tasks, labels)]
        if not wanted:
            return {}
        logits = self.module(batch.tiles.to(self.device), wanted)
        return task_losses(self.data.tasks, logits, labels, smoothing=self.config.encoder.label_smoothing)

    def label_counts(self, batch: LabelledTiles) -> dict[str, int]:
        """Return how many tiles of the batch have each task's label."""
        return label_counts(self.data.tasks, batch.labels)

    def split(self, batch: LabelledTiles) -> tuple[LabelledTiles, LabelledTiles] | None:
        """Return the two halves of a batch; batch normalisation needs two tiles in each."""
        middle = len(batch.tiles) // 2
        if middle < 2:
            return None
        return batch.part(slice(None, middle)), batch.part(slice(middle, None))

    def validation_batch(self, generator: torch.Generator) -> LabelledTiles:
        """Draw tiles from those that the best epoch is chosen by."""
        validation = self.data.validation
        return validation.part(
            torch.randperm(len(validation.tiles), generator=generator)[: self.config.optimisation.batch]
        )

    def warnings(self) -> list[str]:
        """Return what a person should know about the labels before training starts."""
        said = []
        for column, task in enumerate(self.data.tasks):
            labels = self.data.train.labels[:, column]
            known = labels[~labels.isnan()]
            if len(set(known.tolist())) < 2:
                found = f"only the label {float(known[0]):g}" if len(known) else "no label"
                said.append(f"Task {task.name!r} has {found} in the training part: it cannot be learned from it.")
        return said

    def validate(self) -> Validation:
        """Judge by the mean over tasks of (accuracy + macro-F1) / 2, or of R2 for a regression task."""
        answers = answer_tiles(self.module, self.data.tasks, self.data.validation, device=self.device)
        return summary(self.data, answers)

    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        """Write the encoder's folder, with figures measured on its float16 weights."""
        round_to_float16(self.module)
        self.module.eval()
        metrics = encoder_figures(self.module, self.data, device=self.device)
        return publish_encoder(
            folder, config=self.config, data=self.data, module=self.module, metrics=metrics, facts=facts
        )


def build_multi_head(config: TilesConfig, data: TileData) -> MultiHead:
    """Build the untrained network that a config describes (or one that starts from another encoder's weights)."""
    if config.encoder.start_from:
        encoder = load_encoder(config.encoder.start_from)
    else:
        options = {"tile_px": int(data.spec.tile_px), **config.encoder.options}
        encoder = FAMILIES.load(config.encoder.family).build(name=config.name, options=options, state=None)
    return MultiHead(
        encoder.module.requires_grad_(True), features=encoder.features, tasks=data.tasks, dropout=config.encoder.dropout
    )


def summary(data: TileData, answers: Float[NDArray, "tile task"]) -> Validation:
    """Return the mean figures over the tasks that `data` averages over, their score, and each task's score."""
    truth = data.validation.labels.double().numpy()
    figures: dict[str, list[float]] = {"accuracy": [], "macro_f1": [], "r2": []}
    scores = {}
    for column, task in enumerate(data.tasks):
        known = ~np.isnan(truth[:, column])
        fewest = 1 if isinstance(task, Classification) else 2  # a constant has no variance to explain
        if len(np.unique(truth[known, column])) < fewest:
            continue
        found = {"accuracy": accuracy, "macro_f1": macro_f1} if isinstance(task, Classification) else {"r2": r2}
        values = {name: metric(truth[known, column], answers[known, column]) for name, metric in found.items()}
        scores[task.name] = float(np.mean(list(values.values())))
        if task.name in data.averaged:
            for name, value in values.items():
                figures[name].append(value)
    averaged = [score for name, score in scores.items() if name in data.averaged]
    return Validation(
        score=float(np.mean(averaged)) if averaged else math.nan,
        metrics={name: float(np.mean(values)) for name, values in figures.items() if values},
        scores=scores,
    )
