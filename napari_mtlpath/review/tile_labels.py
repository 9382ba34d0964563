"""Events -> labels: which tile of a grid has which label, from where, and where people contradicted themselves."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.review.events import (
    Act,
    Area,
    Imported,
    LabelEvent,
    Origin,
    RegionDrawn,
    RegionRemoved,
    SlideLabelled,
    TilesLabelled,
)
from napari_mtlpath.review.regions import tiles_inside
from napari_mtlpath.tiles.grid import TileGrid

TilesInside: TypeAlias = Callable[[Area, TileGrid], NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class TileLabel:
    """What is known of one tile.

    Attributes
    ----------
    value
        The class's position or the number.
    origin
        How it came to be.
    region
        The region that it has it from; empty for a label of its own.
    """

    value: float
    origin: Origin
    region: str = ""


@dataclass(frozen=True, kw_only=True)
class Region:
    """A labelled region that counts.

    Attributes
    ----------
    key
        Its identifier.
    area
        Its polygons.
    value, origin
        Its label.
    """

    key: str
    area: Area
    value: float
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Labels:
    """All labels of one slide for one task.

    Attributes
    ----------
    tiles
        By index in the grid.
    regions
        In the order in which they were drawn.
    slide
        The whole slide's label, or None.
    slide_origin
        How the slide's label came to be.
    withdrawn
        Tiles that lost their label again, ascending.
    contradicted
        Tiles that got different labels one after the other, ascending; the last one holds.
    foreign
        Number of labelled tiles of another size or place than the grid's: they were made for another model.
    """

    tiles: dict[int, TileLabel] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()
    slide: float | None = None
    slide_origin: Origin = Origin.SLIDE
    withdrawn: tuple[int, ...] = ()
    contradicted: tuple[int, ...] = ()
    foreign: int = 0

    def per_origin(self) -> dict[Origin, Counter[float]]:
        """Return how many tiles have each label, by origin, the slide's own label included."""
        counts: dict[Origin, Counter[float]] = {}
        for label in self.tiles.values():
            counts.setdefault(label.origin, Counter())[label.value] += 1
        if self.slide is not None:
            counts.setdefault(self.slide_origin, Counter())[self.slide] += 1
        return counts

    def values(self, indices: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the labels of some tiles, [n]; NaN where unknown."""
        return np.array(
            [label.value if (label := self.tiles.get(int(index))) is not None else np.nan for index in indices],
            dtype=np.float64,
        )


def labels_of(events: Sequence[LabelEvent], grid: TileGrid, *, inside: TilesInside = tiles_inside) -> Labels:
    """Return what a sequence of acts amounts to on a grid: for each tile the last word holds.

    Parameters
    ----------
    events
        Acts that count (:attr:`napari_mtlpath.review.history.History.effective`), in order, of one slide and task.
    grid
        The model's tiles on the slide.
    inside
        Finds the tiles of a region; replace it by one that remembers.
    """
    acts = list(_acts(events))
    removed = _last_removal(acts)
    said: dict[int, list[TileLabel | None]] = {}
    regions: dict[str, Region] = {}
    slide: SlideLabelled | None = None
    foreign = 0
    for number, happened in enumerate(acts):
        match happened:
            case TilesLabelled() as act:
                fitting = _indices(act, grid)
                foreign += len(act.corners) - len(fitting)
                label = None if act.value is None else TileLabel(value=act.value, origin=act.origin)
                for index in fitting:
                    said.setdefault(index, []).append(label)
            case RegionDrawn() as act if removed.get(act.region, -1) < number:
                regions[act.region] = Region(key=act.region, area=act.area, value=act.value, origin=act.origin)
                for index in inside(act.area, grid).tolist():
                    said.setdefault(index, []).append(TileLabel(value=act.value, origin=act.origin, region=act.region))
            case SlideLabelled() as act:
                slide = act
            case _:
                pass
    return Labels(
        tiles={index: label for index in sorted(said) if (label := said[index][-1]) is not None},
        regions=tuple(regions.values()),
        slide=slide.value if slide is not None else None,
        slide_origin=slide.origin if slide is not None else Origin.SLIDE,
        withdrawn=tuple(index for index in sorted(said) if said[index][-1] is None),
        contradicted=tuple(index for index in sorted(said) if _contradicts(said[index])),
        foreign=foreign,
    )


def _acts(events: Sequence[LabelEvent]) -> Iterator[Act]:
    for event in events:
        if isinstance(event.act, Imported):
            yield from event.act.acts
        else:
            yield event.act


def _last_removal(acts: Sequence[Act]) -> dict[str, int]:
    """Return where each region was last taken away or drawn anew: what was drawn before no longer counts."""
    last: dict[str, int] = {}
    drawn: dict[str, int] = {}
    for number, act in enumerate(acts):
        match act:
            case RegionRemoved(region=key):
                last[key] = number
            case RegionDrawn(region=key):
                if key in drawn:
                    last[key] = max(last.get(key, -1), drawn[key])
                drawn[key] = number
            case _:
                pass
    return last


def _indices(act: TilesLabelled, grid: TileGrid) -> list[int]:
    if act.side != grid.side:
        return []
    places = [(y // grid.side, x // grid.side) for y, x in act.corners if y % grid.side == 0 and x % grid.side == 0]
    return [grid.index(row, column) for row, column in places if 0 <= row < grid.rows and 0 <= column < grid.columns]


def _contradicts(said: Sequence[TileLabel | None]) -> bool:
    """Whether a tile has a label now and had another one before that nobody took back."""
    held: set[float] = set()
    for label in said:
        if label is None:
            held.clear()
        else:
            held.add(label.value)
    return len(held) > 1
