"""What stands in the way of teaching lessons to a model, found before any time is spent."""

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
import torch

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.training.teaching.learning_task import LearningTask
from napari_mtlpath.training.teaching.lesson import Lesson, TaughtBag
from napari_mtlpath.zoo.model import SlideModel

NO_TILE_ANSWERS = (
    "This model's aggregator gives no answers tile by tile, so labels of tiles cannot teach it. Label whole slides, or "
    "choose a model with another aggregator."
)


def check_lessons(model: SlideModel, lessons: Sequence[Lesson], retrain: Collection[str]) -> None:
    """See that the lessons can be taught to the model, `retrain` being its own tasks.

    Raises
    ------
    ValueError
        With every fatal problem, or with what does not fit.
    """
    if not lessons:
        raise ValueError("Expected at least one lesson; found none. Label some tiles for a task.")
    names = [lesson.task.name for lesson in lessons]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"Task {twice[0]!r} is given more than once. Give each task once, with all of its labels.")
    strange = [name for name in retrain if name not in names]
    if strange:
        raise ValueError(f"Task {strange[0]!r} is to be taught further, but no lesson is about it. Leave it out.")
    fatal = [problem.sentence for lesson in lessons for problem in lesson.problems() if problem.fatal]
    if fatal:
        raise ValueError(" ".join(fatal))
    for lesson in lessons:
        _check_fit(model, lesson, further=lesson.task.name in retrain)


def check_tile_answers(aggregator: Aggregator, taught: Sequence[LearningTask]) -> None:
    """See that tasks with labelled tiles are answered tile by tile; raise ValueError otherwise."""
    bag = torch.zeros(2, aggregator.features).to(next(aggregator.parameters()))
    with torch.no_grad():
        answers = aggregator.eval()(bag, explain=True).tasks
    if any(each.composer.has_tiles and answers[each.name].tile_logits is None for each in taught):
        raise ValueError(NO_TILE_ANSWERS)


def together(lessons: Sequence[Lesson], references: Sequence[TaughtBag]) -> tuple[TaughtBag, ...]:
    """Return reference bags and the lessons', each slide once, in order."""
    every = {bag.fingerprint: bag for bag in (*references, *(bag for lesson in lessons for bag in lesson.bags))}
    return tuple(every[fingerprint].ordered() for fingerprint in sorted(every))


def check_pixels(lessons: Sequence[Lesson]) -> None:
    """See that all tiles of the lessons can be read again; raise ValueError otherwise."""
    blind = [bag.name for lesson in lessons for bag in lesson.bags if bag.pixels is None or bag.numbers is None]
    if blind:
        raise ValueError(
            f"Training the encoder needs the pixels of the labelled slides, and slide {blind[0]!r} is known by its "
            "features only. Open the slide itself, leave its labels out, or set encoder_blocks = 0."
        )


def readable(bags: Sequence[TaughtBag], *, most: int, seed: int) -> tuple[TaughtBag, ...]:
    """Return the bags whose tiles can be read again, at most so many tiles of each, drawn by `seed`."""
    chance = torch.Generator().manual_seed(seed)
    return tuple(
        bag.at(np.sort(torch.randperm(len(bag.features), generator=chance)[:most].numpy()))
        for bag in bags
        if bag.pixels is not None and bag.numbers is not None
    )


def _check_fit(model: SlideModel, lesson: Lesson, *, further: bool) -> None:
    wrong = [bag for bag in lesson.bags if bag.features.shape[1] != model.aggregator.features]
    if wrong:
        raise ValueError(
            f"Model {model.name!r} reads {model.aggregator.features} features per tile; slide {wrong[0].name!r} has "
            f"{wrong[0].features.shape[1]}. Use embeddings of its own encoder, {model.card.encoder!r}."
        )
    if further and model.card.task(lesson.task.name) != lesson.task:
        raise ValueError(
            f"Task {lesson.task.name!r} is taught further only as it is: the lesson's task differs from the model's. "
            "Give the lesson the model's own task."
        )
