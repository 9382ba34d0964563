"""Which labels are held out: whole slides where there are enough of them, else single tiles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mtlpath.tasks import Classification, Task
from napari_mtlpath.training.teaching.lesson import Lesson, TaughtBag

ENOUGH_SLIDES = 5
"""Slides with labels from which on whole ones are held out: then a score says more about the next slide."""

FEWEST_HELD_OUT = 4
"""Labels of a class from which on at least one is held out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """What is learned from and what is held out.

    Attributes
    ----------
    tiles
        For each bag, which labelled tiles are held out, [tile].
    slides
        Which bags' own labels are held out, [bag].
    by_slide
        Whether whole slides are held out: then the held-out tiles are all those of some slides.
    """

    tiles: tuple[NDArray[np.bool_], ...]
    slides: NDArray[np.bool_]
    by_slide: bool


def split(lesson: Lesson, *, share: float, generator: torch.Generator) -> Split:
    """Hold out about `share` of the labels; every class that has labels keeps some to learn from.

    Parameters
    ----------
    lesson
        In order (see :meth:`Lesson.ordered`).
    share
        0 to 0.5; 0 holds out nothing.
    generator
        Of all chance.
    """
    bags = lesson.bags
    nothing = Split(
        tiles=tuple(np.zeros(len(bag.features), dtype=bool) for bag in bags),
        slides=np.zeros(len(bags), dtype=bool),
        by_slide=False,
    )
    if share == 0.0:
        return nothing
    whole = _whole_slides(lesson, share, generator)
    if whole is not None:
        tiles = tuple(
            bag.is_labelled if out else none for bag, out, none in zip(bags, whole, nothing.tiles, strict=True)
        )
        return Split(tiles=tiles, slides=whole & _has_label(bags), by_slide=True)
    labels = np.concatenate([bag.tile_labels for bag in bags])
    chosen = _chosen(lesson.task, labels, share, generator)
    cuts = np.cumsum([len(bag.features) for bag in bags])[:-1]
    slides = _chosen(lesson.task, np.array([bag.label for bag in bags]), share, generator)
    return Split(tiles=tuple(np.split(chosen, cuts)), slides=slides, by_slide=False)


def _has_label(bags: Sequence[TaughtBag]) -> NDArray[np.bool_]:
    return np.array([not math.isnan(bag.label) for bag in bags], dtype=bool)


def _whole_slides(lesson: Lesson, share: float, generator: torch.Generator) -> NDArray[np.bool_] | None:
    """Return which slides are held out, or None where either side would lack a class or there are too few slides."""
    bags = lesson.bags
    counts = np.array([bag.is_labelled.sum() for bag in bags])
    if (counts > 0).sum() < ENOUGH_SLIDES or not isinstance(lesson.task, Classification):
        return None
    out = np.zeros(len(bags), dtype=bool)
    for index in torch.randperm(len(bags), generator=generator).tolist():
        if counts[out].sum() >= share * counts.sum():
            break
        out[index] = counts[index] > 0
    classes = set(range(len(lesson.task.classes)))
    sides = [
        {int(label) for bag, side in zip(bags, out, strict=True) if side == wanted for label in _known(bag.tile_labels)}
        for wanted in (True, False)
    ]
    return out if all(side == classes for side in sides) else None


def _chosen(task: Task, labels: NDArray[np.floating], share: float, generator: torch.Generator) -> NDArray[np.bool_]:
    """Choose about `share` of the known labels, of each class by itself."""
    known = np.flatnonzero(~np.isnan(labels))
    groups = (
        [known[labels[known] == index] for index in range(len(task.classes))]
        if isinstance(task, Classification)
        else [known]
    )
    out = np.zeros(len(labels), dtype=bool)
    for group in groups:
        count = max(1, round(share * len(group))) if len(group) >= FEWEST_HELD_OUT else 0
        order = torch.randperm(len(group), generator=generator).numpy()
        out[group[order[:count]]] = True
    return out


def _known(labels: NDArray[np.floating]) -> NDArray[np.floating]:
    return labels[~np.isnan(labels)]
