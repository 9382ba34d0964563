"""A pixel model's answer for a window as planes of bytes, in one fixed order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.pixels.answers import PixelAnswers
from napari_mtlpath.tasks import AnyTask, Classification, PixelRegression, PixelTask, Regression, Segmentation

FULL = 255
"""The byte that stands for a probability of 1, for the upper end of a task's range, for full attention."""


@dataclass(frozen=True, kw_only=True)
class Planes:
    """Which plane holds what.

    A window has one plane per class of each segmentation, per pixel regression, and per map of attention: bytes from 0
    to 255, so that an answer is known to half a 255th. Blended cores have one plane of class numbers per segmentation
    after those.

    Attributes
    ----------
    tasks
        The model's tasks, in its order.
    attentive
        Names of the tasks that come with a map of attention, in the order of their planes.
    """

    tasks: tuple[AnyTask, ...]
    attentive: tuple[str, ...]

    @classmethod
    def of(cls, tasks: Sequence[AnyTask], answer: PixelAnswers) -> "Planes":
        """Lay out the planes of a model's answers."""
        return cls(tasks=tuple(tasks), attentive=tuple(task.name for task in tasks if task.name in answer.attention))

    @property
    def pixel_tasks(self) -> tuple[PixelTask, ...]:
        """Tasks asked of every pixel."""
        return tuple(task for task in self.tasks if isinstance(task, Segmentation | PixelRegression))

    @property
    def tile_tasks(self) -> tuple[Classification | Regression, ...]:
        """Tasks asked of a tile as a whole."""
        return tuple(task for task in self.tasks if isinstance(task, Classification | Regression))

    @property
    def segmentations(self) -> tuple[Segmentation, ...]:
        """Tasks that give every pixel a class."""
        return tuple(task for task in self.tasks if isinstance(task, Segmentation))

    @property
    def answers(self) -> "Planes":
        """These planes without those of attention."""
        return replace(self, attentive=())

    @property
    def explanations(self) -> "Planes":
        """The planes of attention alone."""
        return replace(self, tasks=())

    @property
    def count(self) -> int:
        """Planes of a window."""
        return sum(task.outputs for task in self.pixel_tasks) + len(self.attentive)

    @property
    def blended(self) -> int:
        """Planes of a blended core: those of a window, and class numbers."""
        return self.count + len(self.segmentations)

    @property
    def outputs(self) -> int:
        """Numbers per tile of all tasks asked of a tile as a whole."""
        return sum(task.outputs for task in self.tile_tasks)

    def first(self, task: str) -> int:
        """Return the first plane of a pixel task."""
        place = 0
        for each in self.pixel_tasks:
            if each.name == task:
                return place
            place += each.outputs
        raise KeyError(f"No task {task!r} is asked of every pixel.")

    def span(self, task: str) -> slice:
        """Return the planes of a pixel task."""
        place = self.first(task)
        return slice(place, place + next(each.outputs for each in self.pixel_tasks if each.name == task))

    def attention(self, task: str) -> int:
        """Return the plane of a task's map of attention."""
        return self.count - len(self.attentive) + self.attentive.index(task)

    def labels(self, task: str) -> int:
        """Return the plane of a segmentation's class numbers in a blended core."""
        return self.count + [each.name for each in self.segmentations].index(task)

    def outputs_of(self, task: str) -> slice:
        """Return where a tile task's numbers stand among all."""
        place = 0
        for each in self.tile_tasks:
            if each.name == task:
                return slice(place, place + each.outputs)
            place += each.outputs
        raise KeyError(f"No task {task!r} is asked of whole tiles.")

    def bytes_of(self, answer: PixelAnswers, *, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
        """Return the planes of a batch, [tile, plane, y, x].

        Parameters
        ----------
        answer
            What the model says.
        shape
            Number, height and width of the tiles: there may be no plane at all.

        Raises
        ------
        ValueError
            If a number is not finite.
        """
        count, height, width = shape
        parts = [np.empty((count, 0, height, width), np.uint8)]
        for task in self.pixel_tasks:
            values = answer.pixels[task.name]
            if isinstance(task, PixelRegression):
                values = (values - task.low) / (task.high - task.low)
            parts.append(_rounded(values, what=task.name))
        parts += [_rounded(answer.attention[name][:, None], what=name) for name in self.attentive]
        return np.concatenate(parts, axis=1)

    def logits_of(self, answer: PixelAnswers) -> NDArray[np.float32]:
        """Return the numbers of all tile tasks of a batch, [tile, output]."""
        parts = [answer.tiles[task.name].astype(np.float32) for task in self.tile_tasks]
        count = len(next(iter((*answer.pixels.values(), *answer.tiles.values(), *answer.attention.values()))))
        logits = np.concatenate([np.empty((count, 0), np.float32), *parts], axis=1)
        if not np.isfinite(logits).all():
            raise ValueError(_NOT_FINITE.format(what="of whole tiles"))
        return logits


def _rounded(values: NDArray[np.float32], *, what: str) -> NDArray[np.uint8]:
    if not np.isfinite(values).all():
        raise ValueError(_NOT_FINITE.format(what=repr(what)))
    scaled = values * np.float32(FULL)
    scaled += np.float32(0.5)
    return np.clip(scaled, 0, FULL, out=scaled).astype(np.uint8)


_NOT_FINITE = "The model's answers to task {what} are not finite. Check its weights."
