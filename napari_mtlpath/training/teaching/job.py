"""The training of one lesson as the training loop takes it: batches of composed bags, their losses, validation."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.nn.outputs import BagOutput, TaskOutput
from napari_mtlpath.tasks import Classification
from napari_mtlpath.training.bags.target_scaling import TargetScaling
from napari_mtlpath.training.config.systems import DistillationTable
from napari_mtlpath.training.distillation import distillation_losses
from napari_mtlpath.training.loop.job import Job, Validation
from napari_mtlpath.training.losses.supervised import task_loss
from napari_mtlpath.training.teaching.composed_bags import BagComposer, ComposedBag, whole
from napari_mtlpath.training.teaching.config import TeachConfig
from napari_mtlpath.training.teaching.held_out import Judgement, judged, with_interval
from napari_mtlpath.training.teaching.instance_loss import instance_loss
from napari_mtlpath.training.teaching.learning import LearningPart
from napari_mtlpath.training.teaching.lesson import Lesson, TaughtBag
from napari_mtlpath.training.teaching.split import Split

SET_ASIDE_QUANTILE = 0.05
"""An unlabelled tile is set aside if it is called positive more surely than this share of the labelled positives."""

HALVED = "Memory ran out: some steps were computed in two halves. Lower 'largest_bag' or 'batch' to be faster."
NO_TILE_ANSWERS = (
    "This model's aggregator gives no answers tile by tile, so labels of tiles cannot teach it. Label whole slides, or "
    "choose a model with another aggregator."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What was seen when the held-out labels were last looked at.

    Attributes
    ----------
    tiles, slides
        The task on held-out tiles and slides.
    distances
        By old task, in the shared mode: how far its answers are from the model before.
    preview
        A copy of the model as it was judged, in the units of the tasks.
    """

    tiles: Judgement
    slides: Judgement
    preview: Aggregator
    distances: Mapping[str, float] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """Sum of the losses on tiles and on slides, where there are any; NaN if nothing was held out."""
        known = [each.loss for each in (self.tiles, self.slides) if each.count]
        return sum(known) if known else math.nan


class TeachJob(Job):
    """Teaches one task.

    Parameters
    ----------
    learning
        What learns, on the device where it learns.
    before
        The model before, the teacher of the old tasks in the shared mode.
    lesson, split, composer
        What is learned, what is held out, and where bags come from.
    references
        Bags that the old tasks are held on, in the shared mode.
    config
        How.
    """

    module: LearningPart

    def __init__(
        self,
        learning: LearningPart,
        before: Aggregator,
        *,
        lesson: Lesson,
        split: Split,
        composer: BagComposer,
        references: Sequence[TaughtBag],
        config: TeachConfig,
    ) -> None:
        self.module = learning
        self.before = before
        self.lesson = lesson
        self.split_labels = split
        self.composer = composer
        self.references = tuple(references)
        self.config = config
        self.task = lesson.task
        self.steps_per_epoch = min(config.refresh_every, config.steps)
        # An answer that is there already is in the task's own units.
        is_new = self.task.name not in [task.name for task in before.tasks]
        labels = composer.learned_labels[:, None]
        self.scaling = TargetScaling.of([self.task], labels, kind="standard") if is_new else TargetScaling()
        self.learned = self.scaling.learned_tasks([self.task])[0]
        self.distillation = DistillationTable(
            kind="akd" if config.distillation == "akd" else "kl", regression="squared_error"
        )
        self.look: Look | None = None
        self.notes: list[str] = []
        self.facts: dict[str, str | int | float] = {}

    @property
    def device(self) -> torch.device:
        """Where the model learns."""
        return next(self.module.parameters()).device

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[list[ComposedBag]]:
        """Yield batches of composed bags; in the shared mode each also holds a part of a reference slide."""
        if int(self.module.set_aside_in) != epoch:  # else resumed within this epoch: the choice lies in the state
            self._set_aside(epoch)
        set_aside = self.module.set_aside.cpu()
        for _ in range(self.steps_per_epoch):
            batch = self.composer.bags(self.config.batch, set_aside=set_aside, generator=generator)
            if self.module.shared and self.references:
                chosen = int(torch.randint(len(self.references), (1,), generator=generator))
                batch.append(whole(self.references[chosen], most=self.config.largest_bag, generator=generator))
            yield batch

    def batch_losses(self, batch: Sequence[ComposedBag]) -> dict[str, Tensor]:
        """Return the loss of the task, and in the shared mode the distance of every other to the model before."""
        explain = self.config.instance_weight > 0 and self.composer.has_tiles
        outputs = [self._forward(bag, explain=explain) for bag in batch]
        losses = {}
        own = [(bag, output) for bag, output in zip(batch, outputs, strict=True) if not math.isnan(bag.label)]
        if own:
            losses[self.task.name] = self._task_loss(own)
        if self.module.shared and self.config.distillation != "off":
            losses |= self._distances(batch, outputs)
        return losses

    def label_counts(self, batch: Sequence[ComposedBag]) -> dict[str, int]:
        """Return how many bags of the batch say something about each task."""
        own = sum(not math.isnan(bag.label) for bag in batch)
        counts = {task.name: len(batch) for task in self.module.tasks} if self.config.distillation != "off" else {}
        return {name: count for name, count in (counts | {self.task.name: own}).items() if count}

    def split(self, batch: Sequence[ComposedBag]) -> tuple[Sequence[ComposedBag], Sequence[ComposedBag]] | None:
        """Return the two halves of a batch of several bags, and take note that it had to be."""
        middle = len(batch) // 2
        if not middle:
            return None
        if HALVED not in self.notes:
            self.notes.append(HALVED)
        return batch[:middle], batch[middle:]

    def validation_batch(self, generator: torch.Generator) -> list[ComposedBag]:
        """Return the slides' held-out tiles as bags, for methods that look ahead."""
        held = [(view, view.held_out) for view in self.composer.views if bool((~view.held_out.isnan()).any())]
        if not held:
            return super().validation_batch(generator)
        view, labels = held[int(torch.randint(len(held), (1,), generator=generator))]
        label = float(labels[~labels.isnan()].max())
        return [ComposedBag(features=view.features, label=label, tile_labels=labels, centres=view.centres)]

    def validate(self) -> Validation:
        """Judge by the loss on held-out labels; without any the later weights count as the better ones."""
        self.look = self.judge(preview=True)
        score = -self.look.loss
        if math.isnan(score):
            score = float(self.module.set_aside_in)
        scores = {self.task.name: -self.look.loss} | {name: -value for name, value in self.look.distances.items()}
        return Validation(score=score, scores=scores)

    @torch.no_grad()
    def judge(self, *, preview: bool) -> Look:
        """Look at the held-out labels with the present weights, in evaluation mode."""
        self.module.eval()
        tiles, labels, slides = self._answers(held_out=True)
        copied = self._in_units() if preview else self.module.aggregator
        slide_labels = [bag.label for bag, out in zip(self.lesson.bags, self.split_labels.slides, strict=True) if out]
        scaled = self.scaling.scaled([self.task], torch.tensor(slide_labels)[:, None])[:, 0]
        return Look(
            tiles=judged(self.learned, tiles, labels),
            slides=judged(self.learned, slides, scaled),
            preview=copied,
            distances=self._reference_distances() if self.module.shared else {},
        )

    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        """Take the weights as they will be stored: in the units of the task, rounded to float16. Nothing is written."""
        self.module.eval()
        self.scaling.fold_into(self.module.aggregator)
        self.scaling, self.learned = TargetScaling(), self.task
        with torch.no_grad():
            for parameter in self.module.parameters():
                if parameter.requires_grad:
                    parameter.copy_(parameter.half().to(parameter.dtype))
        self.facts = dict(facts)
        return folder

    @torch.no_grad()
    def figures(self) -> dict[str, dict[str, float | str]]:
        """Return the card's figures on held-out labels, with floor and interval; empty where nothing can be judged."""
        tiles, labels, slides = self._answers(held_out=True)
        known = [bag.label for bag, out in zip(self.lesson.bags, self.split_labels.slides, strict=True) if out]
        found: dict[str, dict[str, float | str]] = {}
        for noun, logits, truth in (("tiles", tiles, labels), ("slides", slides, torch.tensor(known))):
            judgement = judged(self.task, logits, truth)
            if not math.isnan(judgement.score):
                name = judgement.metric.lower().replace("-", "_")
                row = with_interval(self.task, logits, truth).row(name, floor=judgement.floor)
                found[f"{self.task.name}, {len(truth)} held-out {noun}"] = row
        return found

    def _task_loss(self, own: Sequence[tuple[ComposedBag, BagOutput]]) -> Tensor:
        name = self.task.name
        labels = self._scaled(torch.tensor([bag.label for bag, _ in own]))
        logits = torch.stack([output.tasks[name].logits for _, output in own])
        loss = task_loss(self.learned, logits, labels)
        terms = [
            auxiliary(label, lambda one, label: task_loss(self.learned, one[None], label[None]))
            for (_, output), label in zip(own, labels, strict=True)
            if (auxiliary := output.tasks[name].auxiliary) is not None
        ]
        if terms:
            loss = loss + torch.stack(terms).mean()
        if self.config.instance_weight == 0:
            return loss
        tiles = [self._scaled(bag.tile_labels) for bag, _ in own]
        single = instance_loss(self.learned, [output.tasks[name] for _, output in own], tiles)
        return loss if single is None else loss + self.config.instance_weight * single

    def _distances(self, batch: Sequence[ComposedBag], outputs: Sequence[BagOutput]) -> dict[str, Tensor]:
        """Return the weighted distance of every old task's answers to those of the model before."""
        old = [task for task in self.before.tasks if task.name != self.task.name]
        with torch.no_grad():
            said = [
                {name: answer.logits for name, answer in self._answer(self.before, bag, explain=False).tasks.items()}
                for bag in batch
            ]
        found = distillation_losses(
            self.distillation,
            old,
            student={task.name: torch.stack([output.tasks[task.name].logits for output in outputs]) for task in old},
            teacher=said,
            labels=torch.zeros(len(batch), len(old)),
        )
        return {name: self.config.distillation_weight * loss for name, loss in found.items()}

    def _reference_distances(self) -> dict[str, float]:
        chance = torch.Generator().manual_seed(self.config.seed)
        most = self.config.largest_bag
        bags = [whole(bag, most=most, generator=chance) for bag in self.references[: self.config.batch]]
        if not bags:
            return {}
        return {name: float(loss) for name, loss in self._distances(bags, [self._forward(b) for b in bags]).items()}

    def _answers(self, *, held_out: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits and labels of tiles (held out, or learned from), and logits of held-out slides, on the CPU."""
        logits, labels, slides = [torch.empty(0, self.task.outputs)], [torch.empty(0)], []
        views = zip(self.composer.views, self.split_labels.slides, strict=True)
        for view, out in views:
            wanted = view.held_out if held_out else view.learned
            known = ~wanted.isnan()
            if not bool(known.any()) and not (out and held_out):
                continue
            answer = self._view_answer(view.features, view.centres)
            if answer.tile_logits is not None:
                logits.append(answer.tile_logits.cpu()[known])
                labels.append(self._scaled(wanted).cpu()[known])
            if out:
                slides.append(answer.logits.cpu())
        return (
            torch.cat(logits),
            torch.cat(labels),
            torch.stack(slides) if slides else torch.empty(0, self.task.outputs),
        )

    @torch.no_grad()
    def _set_aside(self, epoch: int) -> None:
        """Choose which unlabelled tiles fill no bag in this epoch: those that the task calls positive by now."""
        self.module.set_aside_in.fill_(epoch)
        if epoch == 0 or not isinstance(self.task, Classification) or not self.composer.has_tiles:
            return
        training = self.module.training
        self.module.eval()
        parts = [self._view_answer(view.features, view.centres).tile_logits for view in self.composer.views]
        self.module.train(training)
        logits = torch.cat([part.cpu() for part in parts if part is not None])
        if len(logits) < len(self.composer.labels):
            return
        odds = logits[:, 0] if self.task.is_binary else torch.logsumexp(logits[:, 1:], dim=1) - logits[:, 0]
        positive = odds[self.composer.labels > 0]
        limit = min(0.0, float(positive.quantile(SET_ASIDE_QUANTILE))) if len(positive) else 0.0
        self.module.set_aside.copy_(odds[self.composer.pool] >= limit)

    def _view_answer(self, features: Tensor, centres: Tensor | None) -> TaskOutput:
        bag = ComposedBag(features=features, label=math.nan, tile_labels=torch.empty(len(features)), centres=centres)
        return self._forward(bag, explain=True).tasks[self.task.name]

    def _forward(self, bag: ComposedBag, *, explain: bool = False) -> BagOutput:
        return self._answer(self.module.aggregator, bag, explain=explain)

    def _answer(self, aggregator: Aggregator, bag: ComposedBag, *, explain: bool) -> BagOutput:
        centres = None if bag.centres is None else bag.centres.to(self.device)
        return aggregator(bag.features.to(self.device), centres, explain=explain)

    def _scaled(self, labels: Float[Tensor, " label"]) -> Float[Tensor, " label"]:
        return self.scaling.scaled([self.task], labels.to(self.device)[:, None])[:, 0]

    def _in_units(self) -> Aggregator:
        """Return a copy of the model that answers in the units of the tasks."""
        copied = copy.deepcopy(self.module.aggregator)
        self.scaling.fold_into(copied)
        return copied.eval().requires_grad_(False)
