"""Training of an aggregator on labelled bags, one bag at a time with batches of accumulated losses."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.nn.outputs import BagOutput
from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.training.averaging import round_to_float16
from napari_mtlpath.training.bags import Answer, Bag, BagSource
from napari_mtlpath.training.config import BagsConfig
from napari_mtlpath.training.evaluation import auc, macro_f1, r2
from napari_mtlpath.training.job import Job, Validation
from napari_mtlpath.training.losses.supervised import label_counts, task_losses
from napari_mtlpath.training.publish_model import publish_model
from napari_mtlpath.training.standardised import fold_standardisation
from napari_mtlpath.zoo.load import AGGREGATORS


class BagsJob(Job):
    """Trains an aggregator on standardised features; the standardisation is folded into its weights at the end."""

    module: Aggregator

    def __init__(self, config: BagsConfig, source: BagSource, *, device: torch.device) -> None:
        self.config = config
        self.source = source
        self.device = device
        mean, spread = source.statistics()
        self.mean, self.scale = mean.to(device), (1.0 / (spread + 1e-6)).to(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            aggregator = AGGREGATORS.load(config.aggregator.name)
            self.module = aggregator.build(
                tasks=source.tasks, features=source.encoder.features, options=config.aggregator.options
            ).to(device)
        self.steps_per_epoch = max(1, source.bags_per_epoch // config.optimisation.batch)

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[list[Bag]]:
        """Yield batches of bags."""
        bags = self.source.train(epoch, generator)
        for _ in range(self.steps_per_epoch):
            yield list(islice(bags, self.config.optimisation.batch))

    def batch_losses(self, batch: Sequence[Bag]) -> dict[str, Tensor]:
        """Return each task's mean loss over the bags that have its label (and over their tiles, if those count)."""
        weight = self.config.aggregator.tile_weight
        labels = torch.stack([bag.labels for bag in batch]).to(self.device)
        if bool(labels.isnan().all()):
            return {}
        outputs = [self.module(self._standardised(bag.features), explain=weight > 0) for bag in batch]
        tasks = self.source.tasks
        logits = {task.name: torch.stack([output.tasks[task.name].logits for output in outputs]) for task in tasks}
        losses = task_losses(tasks, logits, labels)
        if weight > 0:
            tiles = [self._tile_losses(*pair) for pair in zip(batch, outputs, strict=True)]
            for name, loss in losses.items():
                known = [each[name] for each in tiles if name in each]
                losses[name] = loss + weight * torch.stack(known).mean() if known else loss
        return losses

    def label_counts(self, batch: Sequence[Bag]) -> dict[str, int]:
        """Return how many bags of the batch have each task's label."""
        return label_counts(self.source.tasks, torch.stack([bag.labels for bag in batch]))

    def split(self, batch: Sequence[Bag]) -> tuple[Sequence[Bag], Sequence[Bag]] | None:
        """Return the two halves of a batch of several bags."""
        middle = len(batch) // 2
        return (batch[:middle], batch[middle:]) if middle else None

    def validation_batch(self, generator: torch.Generator) -> list[Bag]:
        """Draw bags from those that the best epoch is chosen by."""
        bags = self.source.selection()
        chosen = torch.randperm(len(bags), generator=generator)[: self.config.optimisation.batch]
        return [bags[index] for index in chosen.tolist()]

    def validate(self) -> Validation:
        """Judge by the mean over tasks of AUC (binary), macro-F1 (several classes) or R2 on the selection bags."""
        return judge(self.source, self.source.selection(), self.answer)

    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        """Fold the standardisation into the weights, round them to float16, measure, and write the model's folder."""
        self.module.eval()
        fold_standardisation(self.module, mean=self.mean, scale=self.scale)
        self.mean, self.scale = torch.zeros_like(self.mean), torch.ones_like(self.scale)
        round_to_float16(self.module)
        metrics = self.source.figures(self.answer)
        return publish_model(
            folder, config=self.config, source=self.source, module=self.module, metrics=metrics, facts=facts
        )

    @torch.inference_mode()
    def answer(self, features: Float[Tensor, "tile feature"]) -> BagOutput:
        """Answer one bag, explanations included."""
        return self.module(self._standardised(features), explain=True)

    def _tile_losses(self, bag: Bag, output: BagOutput) -> dict[str, Tensor]:
        """Return the losses of the model's answers tile by tile, for a source that labels tiles."""
        logits = {name: task.tile_logits for name, task in output.tasks.items() if task.tile_logits is not None}
        if bag.tile_labels is None or len(logits) < len(self.source.tasks):
            raise ValueError(
                f"aggregator.tile_weight needs tile labels and an aggregator that answers tile by tile; "
                f"data source {self.config.data.source!r} with {self.config.aggregator.name!r} lacks one. Set it to 0."
            )
        return task_losses(self.source.tasks, logits, bag.tile_labels.to(self.device))

    def _standardised(self, features: Float[Tensor, "tile feature"]) -> Float[Tensor, "tile feature"]:
        return (features.to(self.device) - self.mean) * self.scale


def judge(source: BagSource, bags: Sequence[Bag], answer: Answer) -> Validation:
    """Return the score and each task's figure on bags; a task without two different labels there has none."""
    labels = torch.stack([bag.labels for bag in bags]).double().numpy()
    outputs = [answer(bag.features) for bag in bags]
    metrics, scores = {}, {}
    for column, task in enumerate(source.tasks):
        known = ~np.isnan(labels[:, column])
        truth = labels[known, column]
        if len(np.unique(truth)) < 2:
            continue
        logits = np.stack([output.tasks[task.name].logits.double().cpu().numpy() for output in outputs])[known]
        match task:
            case Regression():
                name, value = "r2", r2(truth, logits[:, 0])
            case Classification() if task.is_binary:
                name, value = "auc", auc(truth, logits[:, 0])
            case Classification():
                name, value = "macro_f1", macro_f1(truth, logits.argmax(1).astype(np.float64))
        metrics[f"{task.name} {name}"] = scores[task.name] = value
    score = float(np.mean(list(scores.values()))) if scores else math.nan
    return Validation(score=score, metrics=metrics, scores=scores)
