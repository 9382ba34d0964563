"""A model's card as plain text that a person can read from top to bottom."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from napari_mtlpath.session.wording import RESEARCH_USE, task_title
from napari_mtlpath.tasks import AnyTask, Classification, Segmentation

if TYPE_CHECKING:
    from napari_mtlpath.zoo.card import ModelCard
    from napari_mtlpath.zoo.pixel_card import PixelCard

WHOLE_SLIDES = "whole slides"
"""What most models answer about."""

FLOOR, LOW, HIGH = "_floor", "_low", "_high"
"""Endings under which a card keeps the trivial answer's figure and the 95 % interval beside a metric."""


def card_words(card: "ModelCard | PixelCard") -> str:
    """Return everything a card says: purpose, tasks, figures beside their floors, limits, licence."""
    parts = [
        card.title or card.name,
        card.summary,
        f"Answers for {kind_words(card)}." if kind_words(card) == WHOLE_SLIDES else f"Answers {kind_words(card)}.",
        f"Made for: {card.made_for or 'not stated'}.".replace("..", "."),
        "Tasks\n" + "\n".join(_task_words(task) for task in card.tasks),
        _metric_words(card),
        f"Masks: {masks}" if (masks := str(getattr(card, "masks", ""))) else "",
        f"Limits: {card.limits or 'not stated'}".rstrip(),
        f"Reads tiles of {card.tile.tile_um:g} um ({card.tile.tile_px} px, {card.tile.mpp:.3g} um per pixel) "
        f"with {_reader(card)}.",
        f"Licence: {card.licence}. {card.attribution}".strip(),
        RESEARCH_USE,
    ]
    return "\n\n".join(part for part in parts if part)


def task_words(card: "ModelCard | PixelCard", task: AnyTask) -> str:
    """Return what a card says about one task: its question, and its figures beside their floors."""
    lines = [_task_words(task).removeprefix("- "), *_figures(card.metrics.get(task.name, {}))]
    return "\n".join(line[:1].upper() + line[1:] for line in lines)


def kind_words(card: "ModelCard | PixelCard") -> str:
    """Return what sort of answers a model gives, in two or three words."""
    if hasattr(card, "network"):
        return "pixel by pixel"
    return (
        WHOLE_SLIDES
        if {task.name for task in card.tasks}.difference(getattr(card, "tile_tasks", ()))
        else "tile by tile"
    )


def _reader(card: "ModelCard | PixelCard") -> str:
    network = str(getattr(card, "network", ""))
    return f"the network {network}" if network else f"the tile encoder {getattr(card, 'encoder', '')}"


def _task_words(task: AnyTask) -> str:
    if isinstance(task, Segmentation):
        answers = f"every pixel is {', '.join(task.classes[:-1])} or {task.classes[-1]}"
    elif isinstance(task, Classification):
        answers = " or ".join(task.classes) if task.is_binary else ", ".join(task.classes)
    else:
        answers = f"a number from {task.low:g} to {task.high:g} {task.unit}".rstrip()
    return f"- {task_title(task)}: {task.question or task.name} ({answers})"


def _metric_words(card: "ModelCard | PixelCard") -> str:
    lines = []
    for name, figures in card.metrics.items():
        title = next((task_title(task) for task in card.tasks if task.name == name), name)
        lines += [f"- {title}: {words}" for words in _figures(figures)]
    return "Figures on slides that training never saw\n" + "\n".join(lines) if lines else ""


def _figures(figures: Mapping[str, float | str]) -> list[str]:
    """Put each metric together with its interval and with what the trivial answer reaches."""
    lines = []
    for metric, value in figures.items():
        if metric.endswith((FLOOR, LOW, HIGH)):
            continue
        line = f"{metric.replace('_', ' ')} {_number(value)}"
        if metric + LOW in figures and metric + HIGH in figures:
            line += f" (95 % {_number(figures[metric + LOW])} to {_number(figures[metric + HIGH])})"
        if metric + FLOOR in figures:
            line += f"; the trivial answer reaches {_number(figures[metric + FLOOR])}"
        lines.append(line)
    return lines


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
