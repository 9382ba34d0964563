"""The training of lessons as the training loop takes it: batches of composed bags, their losses, validation."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.nn.outputs import BagOutput
from napari_mtlpath.training.config.systems import DistillationTable
from napari_mtlpath.training.distillation import distillation_losses
from napari_mtlpath.training.loop.job import Job, Validation
from napari_mtlpath.training.teaching.composed_bags import ComposedBag, whole
from napari_mtlpath.training.teaching.config import TeachConfig
from napari_mtlpath.training.teaching.learning import LearningPart
from napari_mtlpath.training.teaching.learning_task import LearningTask, TaskLook
from napari_mtlpath.training.teaching.lesson import TaughtBag

HALVED = "Memory ran out: some steps were computed in two halves. Lower 'largest_bag' or 'batch' to be faster."


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What was seen when the held-out labels were last looked at.

    Attributes
    ----------
    tasks
        By taught task, how it does on its held-out labels.
    distances
        By old task, in the shared mode: how far its answers are from the model before.
    preview
        A copy of the model as it was judged, in the units of the tasks.
    """

    tasks: Mapping[str, TaskLook]
    preview: Aggregator
    distances: Mapping[str, float] = field(default_factory=dict)

    @property
    def losses(self) -> dict[str, float]:
        """Loss of each taught task; NaN where nothing was held out."""
        return {name: look.loss for name, look in self.tasks.items()}


class TeachJob(Job):
    """Teaches tasks.

    Every step draws `config.batch` bags for each of them; a bag teaches the task that it was composed for.

    Parameters
    ----------
    learning
        What learns, on the device where it learns.
    before
        The model before, the teacher of the old tasks in the shared mode.
    taught
        The tasks that are taught, at least one.
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
        taught: Sequence[LearningTask],
        references: Sequence[TaughtBag],
        config: TeachConfig,
    ) -> None:
        self.module = learning
        self.before = before
        self.taught = tuple(taught)
        self.references = tuple(references)
        self.config = config
        self.steps_per_epoch = min(config.refresh_every, config.steps)
        self.distillation = DistillationTable(
            kind="akd" if config.distillation == "akd" else "kl", regression="squared_error"
        )
        self._explains = config.instance_weight > 0 and any(each.composer.has_tiles for each in self.taught)
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
            drawn = [
                each.composer.bags(self.config.batch, set_aside=set_aside[each.pool], generator=generator)
                for each in self.taught
            ]
            batch = [bag for turn in zip(*drawn, strict=True) for bag in turn]  # so that halves hold all tasks, too
            if self.module.shared and self.references:
                chosen = int(torch.randint(len(self.references), (1,), generator=generator))
                batch.append(whole(self.references[chosen], most=self.config.largest_bag, generator=generator))
            yield batch

    def batch_losses(self, batch: Sequence[ComposedBag]) -> dict[str, Tensor]:
        """Return the loss of each taught task, and in the shared mode every other's distance to the model before."""
        outputs = [self._forward(bag, explain=self._explains) for bag in batch]
        pairs = list(zip(batch, outputs, strict=True))
        losses = {}
        for each in self.taught:
            own = [(bag, output) for bag, output in pairs if bag.task == each.name]
            if own:
                losses[each.name] = each.loss(own)
        if self.module.shared and self.config.distillation != "off":
            losses |= self._distances(batch, outputs)
        return losses

    def label_counts(self, batch: Sequence[ComposedBag]) -> dict[str, int]:
        """Return how many bags of the batch say something about each task."""
        counts = {task.name: len(batch) for task in self.module.tasks} if self.config.distillation != "off" else {}
        counts |= {each.name: sum(bag.task == each.name for bag in batch) for each in self.taught}
        return {name: count for name, count in counts.items() if count}

    def split(self, batch: Sequence[ComposedBag]) -> tuple[Sequence[ComposedBag], Sequence[ComposedBag]] | None:
        """Return the two halves of a batch of several bags, and take note that it had to be."""
        middle = len(batch) // 2
        if not middle:
            return None
        if HALVED not in self.notes:
            self.notes.append(HALVED)
        return batch[:middle], batch[middle:]

    def validation_batch(self, generator: torch.Generator) -> list[ComposedBag]:
        """Return held-out tiles of each task as a bag, for methods that look ahead."""
        bags = [bag for each in self.taught if (bag := each.validation_bag(generator)) is not None]
        return bags or super().validation_batch(generator)

    def validate(self) -> Validation:
        """Judge by the mean loss on held-out labels; without any the later weights count as the better ones."""
        self.look = self.judge(preview=True)
        known = {name: loss for name, loss in self.look.losses.items() if not math.isnan(loss)}
        score = -sum(known.values()) / len(known) if known else float(self.module.set_aside_in)
        scores = {name: -loss for name, loss in (self.look.losses | dict(self.look.distances)).items()}
        return Validation(score=score, scores=scores)

    @torch.no_grad()
    def judge(self, *, preview: bool) -> Look:
        """Look at the held-out labels with the present weights, in evaluation mode."""
        self.module.eval()
        return Look(
            tasks={each.name: each.look(self._explained) for each in self.taught},
            preview=self._in_units() if preview else self.module.aggregator,
            distances=self._reference_distances() if self.module.shared else {},
        )

    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        """Take the weights as they will be stored: in the units of the task, rounded to float16. Nothing is written."""
        self.module.eval()
        for each in self.taught:
            each.settle(self.module.aggregator)
        with torch.no_grad():
            for parameter in self.module.parameters():
                if parameter.requires_grad:
                    parameter.copy_(parameter.half().to(parameter.dtype))
        self.facts = dict(facts)
        return folder

    @torch.no_grad()
    def figures(self) -> dict[str, dict[str, float | str]]:
        """Return the card's figures on held-out labels, with floor and interval; empty where nothing can be judged."""
        return {group: row for each in self.taught for group, row in each.figures(self._explained).items()}

    def _distances(self, batch: Sequence[ComposedBag], outputs: Sequence[BagOutput]) -> dict[str, Tensor]:
        """Return the weighted distance of every old task's answers to those of the model before."""
        old = [task for task in self.before.tasks if task.name not in self.module.taught]
        if not old:
            return {}
        with torch.no_grad():
            before = [self._answer(self.before, bag, bag.features, explain=False).tasks for bag in batch]
        said = [{name: answer.logits for name, answer in each.items()} for each in before]
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

    @torch.no_grad()
    def _set_aside(self, epoch: int) -> None:
        """Choose which unlabelled tiles fill no bag in this epoch: those that their task calls positive by now."""
        self.module.set_aside_in.fill_(epoch)
        if epoch == 0:
            return
        training = self.module.training
        self.module.eval()
        for each in self.taught:
            chosen = each.set_aside(self._explained)
            if chosen is not None:
                self.module.set_aside[each.pool] = chosen.to(self.module.set_aside.device)
        self.module.train(training)

    def _explained(self, bag: ComposedBag) -> BagOutput:
        return self._forward(bag, explain=True)

    def _forward(self, bag: ComposedBag, *, explain: bool = False) -> BagOutput:
        return self._answer(self.module.aggregator, bag, self.features(bag), explain=explain)

    def features(self, bag: ComposedBag) -> Tensor:
        """Return the embeddings of a bag's tiles as they are now."""
        return bag.features

    def _answer(self, aggregator: Aggregator, bag: ComposedBag, features: Tensor, *, explain: bool) -> BagOutput:
        centres = None if bag.centres is None else bag.centres.to(self.device)
        return aggregator(features.to(self.device), centres, explain=explain)

    def _in_units(self) -> Aggregator:
        """Return a copy of the model that answers in the units of the tasks."""
        copied = copy.deepcopy(self.module.aggregator)
        for each in self.taught:
            each.in_units(copied)
        return copied.eval().requires_grad_(False)
