"""A model in the making as a ready slide model: a card that says it is a draft, the parent's encoder."""

from dataclasses import replace
from typing import TypeVar

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.training.teaching.lesson import Lesson
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.device import Device
from napari_mtlpath.zoo.model import SlideModel

Value = TypeVar("Value")


def draft_model(parent: SlideModel, aggregator: Aggregator, lesson: Lesson, *, step: int) -> SlideModel:
    """Return `aggregator` as a model, with the encoder of `parent` and where that is.

    Parameters
    ----------
    parent
        The model that is taught.
    aggregator
        Its extended copy; from now on it belongs to the returned model.
    lesson
        What is taught.
    step
        After how many steps: part of the model's digest.
    """
    device = Device(device=parent.device, reason=parent.device_reason.split(";", maxsplit=1)[0])
    card = draft_card(parent.card, aggregator, lesson)
    card = replace(card, provenance={**card.provenance, "draft_after_steps": step})
    return SlideModel(card=card, encoder=parent.encoder, aggregator=aggregator, device=device)


def draft_card(parent: ModelCard, aggregator: Aggregator, lesson: Lesson) -> ModelCard:
    """Return the parent's card with the tasks and options of `aggregator`, and without what no longer holds."""
    task = lesson.task.name
    counts = lesson.counts()
    tiles = {**parent.tile_labels}
    if any(counts.tiles.values()):
        tiles[task] = tiles.get(task, 0) + sum(counts.tiles.values())
    return replace(
        parent,
        tasks=aggregator.tasks,
        options=dict(aggregator.options),
        tile_labels=tiles,
        calibration=_without(parent.calibration, task),
        operating_points=_without(parent.operating_points, task),
        conformal=_without(parent.conformal, task),
        metrics=_without(parent.metrics, task),
        weights_sha256="",
        folder=None,
    )


def _without(table: dict[str, Value], task: str) -> dict[str, Value]:
    return {name: value for name, value in table.items() if name != task}
