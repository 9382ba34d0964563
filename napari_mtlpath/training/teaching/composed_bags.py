"""Bags composed from labelled and unlabelled tiles, so that labels of tiles teach a model of bags."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from napari_mtlpath.tasks import Classification
from napari_mtlpath.training.end_to_end.tiles import BagTiles
from napari_mtlpath.training.teaching.chosen_tiles import chosen_tiles, joined
from napari_mtlpath.training.teaching.config import TeachConfig
from napari_mtlpath.training.teaching.lesson import Lesson, TaughtBag
from napari_mtlpath.training.teaching.split import Split

SLIDES_SHARE = 0.5
"""Share of whole labelled slides among the bags of a step where tiles are labelled too."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ComposedBag:
    """One bag of a step.

    Attributes
    ----------
    features
        Embeddings, [tile, feature].
    label
        Of the bag; NaN where it only holds the other tasks in place.
    tile_labels
        Of its tiles, NaN where unknown or held out, [tile].
    centres
        In microns, [tile, 2], or None.
    task
        Name of the task that it teaches; empty where it only holds the other tasks in place.
    tiles
        Where the tiles are read, for an encoder that learns; None where the features hold.
    """

    features: Float[Tensor, "tile feature"]
    label: float
    tile_labels: Float[Tensor, " tile"]
    centres: Float[Tensor, "tile 2"] | None = None
    task: str = ""
    tiles: BagTiles | None = None


class BagComposer:
    """Draws the bags of a lesson; held-out labels take no part.

    A classification's tile labels become bags like this. A bag of class k > 0 holds labelled tiles of that class at a
    rate drawn for the bag; the rest, and the whole of a bag of the first class, are labelled tiles of the first class,
    and unlabelled ones. Nobody said that an unlabelled tile is of the first class: those that the task itself calls
    something else are set aside, all of them until it has been taught for a while, and tiles of a slide labelled with
    the first class of two never. A regression's bags hold labelled tiles only; the label is their mean. Slides with a
    label of their own are shown whole.

    Parameters
    ----------
    lesson
        In order (see :meth:`Lesson.ordered`).
    split
        What is held out.
    config
        Sizes and rates.
    """

    def __init__(self, lesson: Lesson, split: Split, config: TeachConfig) -> None:
        self.task = lesson.task
        self.config = config
        chance = torch.Generator().manual_seed(config.seed)
        self.views = tuple(
            View.of(bag, held_out, config.most_tiles, generator=chance, whole_is_held_out=split.by_slide)
            for bag, held_out in zip(lesson.bags, split.tiles, strict=True)
        )
        self.features = torch.cat([view.features for view in self.views])
        self.labels = torch.cat([view.learned for view in self.views])
        self.centres = (
            torch.cat([view.centres for view in self.views if view.centres is not None])
            if all(view.centres is not None for view in self.views)
            else None
        )
        self.tiles = joined([view.tiles for view in self.views])
        self.pool = torch.cat([view.is_pool for view in self.views]).nonzero().squeeze(1)
        safe = [
            view.is_pool & bool(self._is_negative(bag.label) and not out)
            for view, bag, out in zip(self.views, lesson.bags, split.slides, strict=True)
        ]
        self.is_safe = torch.cat(safe)[self.pool]
        self.slides = [
            (view, bag.label)
            for view, bag, out in zip(self.views, lesson.bags, split.slides, strict=True)
            if not math.isnan(bag.label) and not out
        ]
        self.has_tiles = bool((~self.labels.isnan()).any())

    @property
    def learned_labels(self) -> Float[Tensor, " label"]:
        """All labels that are learned from, of tiles and of slides."""
        slides = torch.tensor([label for _, label in self.slides], dtype=torch.float32)
        return torch.cat([self.labels[~self.labels.isnan()], slides])

    def bags(self, count: int, *, set_aside: Bool[Tensor, " pool"], generator: torch.Generator) -> list[ComposedBag]:
        """Draw the bags of one step.

        Parameters
        ----------
        count
            How many.
        set_aside
            Which unlabelled tiles are left out.
        generator
            Of all chance.
        """
        free = self.pool[~set_aside | self.is_safe]
        kinds = self._kinds(generator)
        drawn = []
        for _ in range(count):
            kind = next(kinds)
            drawn.append(
                self._slide(kind, generator) if isinstance(kind, list) else self._composed(kind, free, generator)
            )
        return drawn

    def _kinds(self, generator: torch.Generator) -> Iterator[int | list[tuple["View", float]]]:
        """Yield what the next bag is: the class to compose for, or the slides to choose one from, evenly by class."""
        by_label = [[pair for pair in self.slides if pair[1] == label] for label in sorted({p[1] for p in self.slides})]
        slides = by_label if isinstance(self.task, Classification) else [self.slides]
        composed = self._classes()
        turn_of_class, turn_of_slide = (int(torch.randint(1000, (1,), generator=generator)) for _ in range(2))
        while True:
            whole = bool(self.slides) and (not composed or float(torch.rand((), generator=generator)) < SLIDES_SHARE)
            if whole:
                yield slides[turn_of_slide % len(slides)]
                turn_of_slide += 1
            else:
                yield composed[turn_of_class % len(composed)]
                turn_of_class += 1

    def _classes(self) -> list[int]:
        if not self.has_tiles:
            return []
        if not isinstance(self.task, Classification):
            return [0]
        present = {int(label) for label in self.labels[~self.labels.isnan()].tolist()}
        # Without a tile of the first class a bag of it could only be guessed from unlabelled ones.
        return sorted(present if 0 in present or not bool(self.is_safe.any()) else present | {0})

    def _composed(self, kind: int, free: Int[Tensor, " row"], generator: torch.Generator) -> ComposedBag:
        config = self.config
        size = round(_between(float(config.smallest_bag), float(config.largest_bag), generator))
        if not isinstance(self.task, Classification):
            rows = _drawn((~self.labels.isnan()).nonzero().squeeze(1), size, generator)
            return self._bag(rows, float(self.labels[rows].mean()))
        fillers = (self.labels == 0).nonzero().squeeze(1)
        sought = size if not len(fillers) and not len(free) else 0
        if kind > 0:
            sought = sought or max(1, round(size * _between(config.lowest_rate, config.highest_rate, generator)))
        rest = size - sought
        unlabelled = 0 if not len(free) else rest if not len(fillers) else round(rest * config.unlabelled_share)
        parts = [
            _drawn((self.labels == kind).nonzero().squeeze(1), sought, generator),
            _drawn(free, unlabelled, generator),
            _drawn(fillers, rest - unlabelled, generator),
        ]
        return self._bag(torch.cat(parts), float(kind))

    def _bag(self, rows: Int[Tensor, " tile"], label: float) -> ComposedBag:
        centres = None if self.centres is None else self.centres[rows]
        return ComposedBag(
            features=self.features[rows],
            label=label,
            tile_labels=self.labels[rows],
            centres=centres,
            task=self.task.name,
            tiles=None if self.tiles is None else self.tiles.only(rows),
        )

    def _slide(self, slides: list[tuple["View", float]], generator: torch.Generator) -> ComposedBag:
        view, label = slides[int(torch.randint(len(slides), (1,), generator=generator))]
        return self.of_view(view, label=label, tile_labels=view.learned)

    def of_view(self, view: "View", *, label: float, tile_labels: Float[Tensor, " tile"]) -> ComposedBag:
        """Return a slide's tiles as one bag with these labels."""
        return ComposedBag(
            features=view.features,
            label=label,
            tile_labels=tile_labels,
            centres=view.centres,
            task=self.task.name,
            tiles=view.tiles,
        )

    def _is_negative(self, label: float) -> bool:
        return isinstance(self.task, Classification) and self.task.is_binary and label == 0


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One slide's tiles that take part: the labelled ones and at most so many others, in the slide's order.

    Attributes
    ----------
    features, centres
        Of these tiles.
    learned, held_out
        Labels to learn from, and labels to judge by; NaN elsewhere, [tile].
    is_pool
        Which tiles have no label and may fill bags, [tile].
    tiles
        Where they are read, or None.
    """

    features: Float[Tensor, "tile feature"]
    centres: Float[Tensor, "tile 2"] | None
    learned: Float[Tensor, " tile"]
    held_out: Float[Tensor, " tile"]
    is_pool: Bool[Tensor, " tile"]
    tiles: BagTiles | None = None

    @classmethod
    def of(
        cls,
        bag: TaughtBag,
        held_out: np.ndarray,
        most: int,
        *,
        generator: torch.Generator,
        whole_is_held_out: bool,
    ) -> "View":
        """Return the labelled tiles of a bag and `most` others, drawn from `generator`."""
        others = np.flatnonzero(~bag.is_labelled)
        chosen = others[torch.randperm(len(others), generator=generator)[:most].numpy()]
        kept = np.sort(np.concatenate([np.flatnonzero(bag.is_labelled), chosen]))
        labels = torch.from_numpy(bag.tile_labels[kept].astype(np.float32))
        out = torch.from_numpy(held_out[kept])
        nothing = torch.full_like(labels, torch.nan)
        unseen = whole_is_held_out and bool(held_out.any())
        return cls(
            features=torch.from_numpy(np.ascontiguousarray(bag.features[kept], dtype=np.float32)),
            centres=None if bag.centres_um is None else torch.from_numpy(bag.centres_um[kept].astype(np.float32)),
            learned=torch.where(out, nothing, labels),
            held_out=torch.where(out, labels, nothing),
            is_pool=labels.isnan() & (not unseen),
            tiles=chosen_tiles(bag, kept),
        )


def whole(bag: TaughtBag, *, most: int, generator: torch.Generator) -> ComposedBag:
    """Return a slide without its labels, or a part of at most so many tiles: it shows the other tasks as they were."""
    rows = torch.randperm(len(bag.features), generator=generator)[:most].sort().values.numpy()
    return ComposedBag(
        features=torch.from_numpy(np.ascontiguousarray(bag.features[rows], dtype=np.float32)),
        label=math.nan,
        tile_labels=torch.full((len(rows),), torch.nan),
        centres=None if bag.centres_um is None else torch.from_numpy(bag.centres_um[rows].astype(np.float32)),
        tiles=chosen_tiles(bag, rows),
    )


def _between(low: float, high: float, generator: torch.Generator) -> float:
    """Draw between `low` and `high`, evenly on a logarithmic scale."""
    share = float(torch.rand((), generator=generator, dtype=torch.float64))
    return low * (high / low) ** share


def _drawn(rows: Int[Tensor, " row"], count: int, generator: torch.Generator) -> Int[Tensor, " drawn"]:
    """Draw rows: each once before any twice."""
    if count == 0 or len(rows) == 0:
        return rows[:0]
    passes = -(-count // len(rows))
    orders = [torch.randperm(len(rows), generator=generator) for _ in range(passes)]
    return rows[torch.cat(orders)[:count]]
