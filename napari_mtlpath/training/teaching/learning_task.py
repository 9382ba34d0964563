"""One task of a teaching: its bags, its loss, and how it does on held-out labels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.nn.outputs import BagOutput, TaskOutput
from napari_mtlpath.tasks import Classification, Task
from napari_mtlpath.training.bags.target_scaling import TargetScaling
from napari_mtlpath.training.losses.supervised import task_loss
from napari_mtlpath.training.teaching.composed_bags import BagComposer, ComposedBag
from napari_mtlpath.training.teaching.config import TeachConfig
from napari_mtlpath.training.teaching.held_out import Judgement, judged, with_interval
from napari_mtlpath.training.teaching.instance_loss import instance_loss
from napari_mtlpath.training.teaching.lesson import Lesson
from napari_mtlpath.training.teaching.split import Split

SET_ASIDE_QUANTILE = 0.05
"""An unlabelled tile is set aside if it is called positive more surely than this share of the labelled positives."""

Answer = Callable[[ComposedBag], BagOutput]
"""The model as it is, asked about a bag, with its explanations."""


@dataclass(frozen=True, kw_only=True)
class TaskLook:
    """A task on its held-out tiles and slides."""

    tiles: Judgement
    slides: Judgement

    @property
    def loss(self) -> float:
        """Sum of the losses on tiles and on slides, where there are any; NaN if nothing was held out."""
        known = [each.loss for each in (self.tiles, self.slides) if each.count]
        return sum(known) if known else math.nan

    @property
    def judgement(self) -> Judgement:
        """What is shown of it: on tiles where some are held out, else on slides."""
        return self.tiles if self.tiles.count else self.slides

    @property
    def noun(self) -> str:
        """What `judgement` is about."""
        return "tile" if self.tiles.count else "slide"


class LearningTask:
    """A task that is taught.

    Parameters
    ----------
    lesson, split
        What is learned, in order, and what is held out.
    config
        How.
    is_new
        Whether the model did not have it before; the answers of one that is there are in the task's own units.
    first
        Where its unlabelled tiles begin among those of all lessons.
    """

    def __init__(self, lesson: Lesson, split: Split, config: TeachConfig, *, is_new: bool, first: int) -> None:
        self.lesson = lesson
        self.split = split
        self.config = config
        self.composer = BagComposer(lesson, split, config)
        self.first = first
        labels = self.composer.learned_labels[:, None]
        self.scaling = TargetScaling.of([self.task], labels, kind="standard") if is_new else TargetScaling()
        self.learned = self.scaling.learned_tasks([self.task])[0]

    @property
    def task(self) -> Task:
        """What is taught, in its own units."""
        return self.lesson.task

    @property
    def name(self) -> str:
        """Its name."""
        return self.task.name

    @property
    def pool(self) -> slice:
        """Its part of the unlabelled tiles of all lessons."""
        return slice(self.first, self.first + len(self.composer.pool))

    @property
    def held_out(self) -> str:
        """What was held out: ``"slides"``, ``"tiles"`` or nothing."""
        if not any(tiles.any() for tiles in self.split.tiles) and not self.split.slides.any():
            return ""
        return "slides" if self.split.by_slide or not self.composer.has_tiles else "tiles"

    def loss(self, own: Sequence[tuple[ComposedBag, BagOutput]]) -> Float[Tensor, ""]:
        """Return its loss on its bags of a step, that on single tiles with it."""
        device = own[0][1].tasks[self.name].logits.device
        labels = self._scaled(torch.tensor([bag.label for bag, _ in own]), device)
        logits = torch.stack([output.tasks[self.name].logits for _, output in own])
        loss = task_loss(self.learned, logits, labels)
        terms = [
            auxiliary(label, lambda one, label: task_loss(self.learned, one[None], label[None]))
            for (_, output), label in zip(own, labels, strict=True)
            if (auxiliary := output.tasks[self.name].auxiliary) is not None
        ]
        if terms:
            loss = loss + torch.stack(terms).mean()
        if self.config.instance_weight == 0:
            return loss
        tiles = [self._scaled(bag.tile_labels, device) for bag, _ in own]
        single = instance_loss(self.learned, [output.tasks[self.name] for _, output in own], tiles)
        return loss if single is None else loss + self.config.instance_weight * single

    def look(self, answer: Answer) -> TaskLook:
        """Judge it on what is held out."""
        tiles, labels, slides = self._answers(answer)
        scaled = self._scaled(torch.tensor(self._slide_labels()), torch.device("cpu"))
        return TaskLook(tiles=judged(self.learned, tiles, labels), slides=judged(self.learned, slides, scaled))

    def figures(self, answer: Answer) -> dict[str, dict[str, float | str]]:
        """Return the card's figures on held-out labels, with floor and interval; empty where nothing can be judged."""
        tiles, labels, slides = self._answers(answer)
        found: dict[str, dict[str, float | str]] = {}
        known = torch.tensor(self._slide_labels())
        for noun, logits, truth in (("tiles", tiles, labels), ("slides", slides, known)):
            judgement = judged(self.task, logits, truth)
            if not math.isnan(judgement.score):
                name = judgement.metric.lower().replace("-", "_")
                row = with_interval(self.task, logits, truth).row(name, floor=judgement.floor)
                found[f"{self.name}, {len(truth)} held-out {noun}"] = row
        return found

    def set_aside(self, answer: Answer) -> Bool[Tensor, " pool"] | None:
        """Return which unlabelled tiles fill no bag: those that the task calls positive by now; None for no change."""
        if not isinstance(self.task, Classification) or not self.composer.has_tiles:
            return None
        parts = [self._asked(answer, number).tile_logits for number in range(len(self.composer.views))]
        logits = torch.cat([part.cpu() for part in parts if part is not None])
        if len(logits) < len(self.composer.labels):
            return None
        odds = logits[:, 0] if self.task.is_binary else torch.logsumexp(logits[:, 1:], dim=1) - logits[:, 0]
        positive = odds[self.composer.labels > 0]
        limit = min(0.0, float(positive.quantile(SET_ASIDE_QUANTILE))) if len(positive) else 0.0
        return odds[self.composer.pool] >= limit

    def validation_bag(self, generator: torch.Generator) -> ComposedBag | None:
        """Return a slide's held-out tiles as a bag, or None where no tile is held out."""
        held = [view for view in self.composer.views if bool((~view.held_out.isnan()).any())]
        if not held:
            return None
        view = held[int(torch.randint(len(held), (1,), generator=generator))]
        label = float(view.held_out[~view.held_out.isnan()].max())
        return self.composer.of_view(view, label=label, tile_labels=view.held_out)

    def in_units(self, aggregator: Aggregator) -> None:
        """Let the model answer in the units of the task, whatever it learned in."""
        self.scaling.fold_into(aggregator)

    def settle(self, aggregator: Aggregator) -> None:
        """As :meth:`in_units`, for good."""
        self.in_units(aggregator)
        self.scaling, self.learned = TargetScaling(), self.task

    def _answers(self, answer: Answer) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits and labels of held-out tiles, and logits of held-out slides, on the CPU."""
        logits, labels, slides = [torch.empty(0, self.task.outputs)], [torch.empty(0)], []
        for number, (view, out) in enumerate(zip(self.composer.views, self.split.slides, strict=True)):
            known = ~view.held_out.isnan()
            if not bool(known.any()) and not out:
                continue
            said = self._asked(answer, number)
            if said.tile_logits is not None:
                logits.append(said.tile_logits.cpu()[known])
                labels.append(self._scaled(view.held_out, torch.device("cpu"))[known])
            if out:
                slides.append(said.logits.cpu())
        every = torch.stack(slides) if slides else torch.empty(0, self.task.outputs)
        return torch.cat(logits), torch.cat(labels), every

    def _asked(self, answer: Answer, number: int) -> TaskOutput:
        view = self.composer.views[number]
        bag = self.composer.of_view(view, label=math.nan, tile_labels=view.learned)
        return answer(bag).tasks[self.name]

    def _slide_labels(self) -> list[float]:
        return [bag.label for bag, out in zip(self.lesson.bags, self.split.slides, strict=True) if out]

    def _scaled(self, labels: Float[Tensor, " label"], device: torch.device) -> Float[Tensor, " label"]:
        return self.scaling.scaled([self.task], labels.to(device)[:, None])[:, 0]
