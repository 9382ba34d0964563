"""Values per tile as a small image in its right place on the slide."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.probabilities import sigmoid, softmax
from napari_mtlpath.nn.answers import BagAnswer, TaskAnswer
from napari_mtlpath.tasks import Classification, Task
from napari_mtlpath.tiles.grid import TileGrid


class HeatmapKind(StrEnum):
    """What a heatmap's values are.

    `ROUTING` and `ATTENTION` are N times the tile's weight among the N tiles known: 1 is uniform, 5 is five times as
    much. `PREDICTION` is the task's own answer for the tile alone: a score from 0 to 1, or the number of a regression.
    """

    ROUTING = "routing"
    ATTENTION = "attention"
    PREDICTION = "prediction"


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a heatmap lies, in napari's world of microns.

    Attributes
    ----------
    scale
        Microns per heatmap pixel, (y, x).
    translate
        Centre of the heatmap's first pixel in microns, (y, x).
    """

    scale: tuple[float, float]
    translate: tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Heatmap:
    """One value per tile.

    Attributes
    ----------
    task
        Name of the task.
    kind
        What the values are.
    values
        float32 [row, column]; NaN where nothing is known.
    grid
        The tiles.
    shown_class
        Of a prediction among more than two classes: which one's score the values are, by its place; None otherwise.
    """

    task: str
    kind: HeatmapKind
    values: NDArray[np.float32]
    grid: TileGrid
    shown_class: int | None = None

    def __post_init__(self) -> None:
        if self.values.shape != self.grid.shape:
            raise ValueError(f"A heatmap has one value per tile, {self.grid.shape}; found {self.values.shape}.")


def placement(grid: TileGrid, mpp: tuple[float, float]) -> Placement:
    """Return where a heatmap with one pixel per tile lies.

    napari draws the centre of pixel (0, 0) at the layer's `translate`. The slide's layer has its first pixel's centre
    at 0, so heatmap pixel r covers slide pixels [r side, (r + 1) side), whose centre is r side + (side - 1) / 2.
    """
    scale = (grid.side * mpp[0], grid.side * mpp[1])
    half = (grid.side - 1) / 2
    return Placement(scale=scale, translate=(half * mpp[0], half * mpp[1]))


def heatmaps_of(
    output: BagAnswer,
    indices: NDArray[np.integer],
    grid: TileGrid,
    *,
    tasks: Sequence[Task],
    without_tile_answers: Collection[str] = (),
) -> list[Heatmap]:
    """Return every heatmap that a model's output holds, in the order of tasks and of :class:`HeatmapKind`.

    Parameters
    ----------
    output
        The aggregator's answer for the tiles in `indices`.
    indices
        Tiles of the grid, [tile].
    grid
        The tiles.
    tasks
        The model's tasks.
    without_tile_answers
        Tasks whose answers tile by tile are left out: a network gives them for any task, but where only whole slides
        were labelled nobody has judged them.
    """
    heatmaps = []
    for task in tasks:
        answer = output.tasks[task.name]
        shown = _shown_class(answer, task)
        for kind, values in _values_of(answer, task, shown).items():
            is_prediction = kind is HeatmapKind.PREDICTION
            if is_prediction and task.name in without_tile_answers:
                continue
            spread, said = on_grid(values, indices, grid), shown if is_prediction else None
            heatmaps.append(Heatmap(task=task.name, kind=kind, values=spread, grid=grid, shown_class=said))
    return heatmaps


def on_grid(values: NDArray[np.floating], indices: NDArray[np.integer], grid: TileGrid) -> NDArray[np.float32]:
    """Spread values [tile] over the grid, NaN elsewhere."""
    spread = np.full(len(grid), np.nan, dtype=np.float32)
    spread[indices] = values
    return spread.reshape(grid.shape)


def mask_on_grid(selected: NDArray[np.bool_], indices: NDArray[np.integer], grid: TileGrid) -> NDArray[np.bool_]:
    """Spread a choice of tiles [tile] over the grid, False elsewhere."""
    spread = np.zeros(len(grid), dtype=np.bool_)
    spread[indices] = selected
    return spread.reshape(grid.shape)


def _values_of(answer: TaskAnswer, task: Task, shown: int | None) -> dict[HeatmapKind, NDArray[np.float32]]:
    values = {}
    if answer.routing is not None:
        values[HeatmapKind.ROUTING] = answer.routing * len(answer.routing)
    if answer.attention is not None:
        values[HeatmapKind.ATTENTION] = answer.attention * len(answer.attention)
    if answer.tile_logits is not None:
        values[HeatmapKind.PREDICTION] = _tile_answers(answer.tile_logits, task, shown)
    return values


def _shown_class(answer: TaskAnswer, task: Task) -> int | None:
    """Return the slide's own answer among more than two classes: tiles show how much they speak for it."""
    several = isinstance(task, Classification) and not task.is_binary
    return int(answer.logits.argmax()) if several else None


def _tile_answers(tile_logits: NDArray[np.float32], task: Task, shown: int | None) -> NDArray[np.float32]:
    if shown is not None:
        return softmax(tile_logits)[:, shown]
    return sigmoid(tile_logits[:, 0]) if isinstance(task, Classification) else tile_logits[:, 0]
