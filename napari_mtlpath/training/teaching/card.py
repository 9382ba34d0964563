"""The card of a model that was taught: what it answers now, from which labels, and what still holds of its parent's."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.training.teaching.guard import GuardResult
from napari_mtlpath.training.teaching.lesson import LabelCounts, Lesson
from napari_mtlpath.training.teaching.proof import PROOF_FILE, encoder_facts, parent_facts
from napari_mtlpath.training.teaching.report import Taught
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.model import SlideModel

Value = TypeVar("Value")

BY_TASK = ("metrics", "calibration", "operating_points", "conformal", "tile_labels")
"""Tables of a card by task; a group of metrics may go on after its task's name."""


def draft_card(parent: ModelCard, aggregator: Aggregator, lessons: Sequence[Lesson]) -> ModelCard:
    """Return the parent's card with the tasks of `aggregator`, without what was said about the taught ones before."""
    card, labelled = parent, {}
    for lesson in lessons:
        name = lesson.task.name
        labelled[name] = sum(lesson.counts().tiles.values()) + parent.tile_labels.get(name, 0)
        card = _without(card, name)
    tile_labels = {**card.tile_labels, **{name: count for name, count in labelled.items() if count}}
    options = dict(aggregator.options)
    return replace(
        card, tasks=aggregator.tasks, options=options, tile_labels=tile_labels, weights_sha256="", folder=None
    )


def taught_card(taught: Taught, result: GuardResult, *, name: str) -> ModelCard:
    """Return the card of a taught model: origin and counts of its labels, figures with floors, parent and proof."""
    parent = taught.parent.card
    card = draft_card(parent, taught.model.aggregator, taught.lessons)
    if not result.identical:  # what was measured and fitted on the parent's answers holds no more
        card = replace(card, metrics={}, calibration={}, operating_points={}, conformal={})
    words = ", ".join(
        f"{lesson.task.title or lesson.task.name} {'taught further' if _is_further(taught, lesson) else 'added'}"
        for lesson in taught.lessons
    )
    learned = _encoder_sentence(taught)
    return replace(
        card,
        name=name,
        title=f"{parent.title or parent.name}; {words}",
        summary=f"{parent.summary} {_lesson_sentences(taught)} {learned}{result.sentence}".strip(),
        limits=f"{parent.limits} {_limits(taught)}".strip(),
        metrics={**card.metrics, **{group: dict(row) for group, row in taught.metrics.items()}},
        provenance=_provenance(taught, result),
        folder=parent.folder,  # where an encoder of its own is copied from
    )


def card_without(model: SlideModel, task: str, shorter: Aggregator, *, name: str) -> ModelCard:
    """Return the card of a model from which a task was removed."""
    parent = parent_facts(model)
    return replace(
        _without(model.card, task),
        name=name,
        tasks=shorter.tasks,
        options=dict(shorter.options),
        provenance={
            **model.card.provenance,
            "removed_task": task,
            "parent": parent["name"],
            "parent_sha256": parent["weights_sha256"],
            "proof": PROOF_FILE,
        },
    )


def counts_text(counts: LabelCounts) -> str:
    """Return how many labels there are and where they came from, in words.

    Examples
    --------
    >>> counts_text(LabelCounts(tiles={"absent": 45, "present": 15}, slides={"absent": 0}, origins={"tile": 60}))
    '45 tiles absent, 15 tiles present (from tile: 60)'
    """
    parts = [
        f"{count} {noun if count != 1 else noun[:-1]} {name}"
        for noun, by_class in (("tiles", counts.tiles), ("slides", counts.slides))
        for name, count in by_class.items()
        if count
    ]
    origins = ", ".join(f"{origin}: {count}" for origin, count in sorted(counts.origins.items()) if count)
    return ", ".join(parts) + (f" (from {origins})" if origins else "")


def _is_further(taught: Taught, lesson: Lesson) -> bool:
    return lesson.task.name in taught.retrained


def _lesson_sentences(taught: Taught) -> str:
    return " ".join(
        f"Task {lesson.task.name!r} was {'taught further' if _is_further(taught, lesson) else 'taught later'}, from "
        f"{counts_text(lesson.counts())} of {len(lesson.bags)} slide(s)."
        for lesson in taught.lessons
    )


def _encoder_sentence(taught: Taught) -> str:
    if taught.encoder is None:
        return ""
    return (
        f"The last {taught.config.encoder_blocks} block(s) of its tile encoder learned, too, so that every task's "
        "answers changed. "
    )


def _limits(taught: Taught) -> str:
    return " ".join(_limits_of(taught, lesson.task.name) for lesson in taught.lessons)


def _limits_of(taught: Taught, task: str) -> str:
    if not any(group.startswith(f"{task}, ") for group in taught.metrics):
        return f"Task {task!r} was judged by nobody: there were too few labels to hold any out."
    on = "slides that it did not learn from"
    if taught.held_out.get(task) == "tiles":
        on = "other tiles of the very slides that it learned from, which promises little about the next slide"
    return f"The figures of task {task!r} are on {on}. Its answers are scores, not probabilities."


def _provenance(taught: Taught, result: GuardResult) -> dict[str, Any]:
    parent = parent_facts(taught.parent)
    config = {key: value for key, value in taught.config.model_dump().items() if key != "seed"}
    return {
        "parent": parent["name"],
        "parent_sha256": parent["weights_sha256"],
        "parent_digest": parent["digest"],
        "taught": [lesson.task.name for lesson in taught.lessons],
        "labels": "; ".join(f"{lesson.task.name}: {counts_text(lesson.counts())}" for lesson in taught.lessons),
        "lesson_sha256": [lesson.digest() for lesson in taught.lessons],
        "old_answers": result.sentence,
        "proof": PROOF_FILE,
        **({} if taught.encoder is None else {f"encoder_{key}": value for key, value in encoder_facts(taught).items()}),
        **taught.facts,
        "seed": taught.config.seed,
        "settings": config,
        "parent_provenance": dict(taught.parent.card.provenance),
    }


def _without(card: ModelCard, task: str) -> ModelCard:
    """Return a card without what its tables say about a task."""
    tables: dict[str, Any] = {table: _left(getattr(card, table), task) for table in BY_TASK}
    return replace(card, **tables)


def _left(table: Mapping[str, Value], task: str) -> dict[str, Value]:
    mine = (f"{task} at ", f"{task}, ")  # as groups of metrics go on
    return {name: value for name, value in table.items() if name != task and not name.startswith(mine)}
