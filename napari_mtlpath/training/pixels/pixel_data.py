"""Tiles with masks and labels in memory, part by part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from napari_mtlpath.nn.options import nearest
from napari_mtlpath.tasks import AnyTask, PixelRegression, PixelTask, Segmentation, Task
from napari_mtlpath.tiles.spec import TileSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledPixels:
    """Tiles with answers to some or all tasks.

    Attributes
    ----------
    tiles
        RGB, [tile, y, x, 3].
    pixels
        By pixel task, [tile, y, x]: class index as uint8, 255 unknown; or value as float32, NaN unknown.
    labels
        Class index or value per tile task, NaN unknown, [tile, task].
    groups
        What each tile comes from (patient, slide, image): never on two sides of a split.
    """

    tiles: UInt8[Tensor, "tile y x 3"]
    pixels: Mapping[str, Tensor]
    labels: Float[Tensor, "tile task"]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tiles)

    def part(self, chosen: slice | Int[Tensor, " part"]) -> "LabelledPixels":
        """Return some of the tiles with their answers."""
        kept = range(len(self.groups))[chosen] if isinstance(chosen, slice) else chosen.tolist()
        return LabelledPixels(
            tiles=self.tiles[chosen],
            pixels={name: each[chosen] for name, each in self.pixels.items()},
            labels=self.labels[chosen],
            groups=tuple(self.groups[number] for number in kept),
        )

    def joined(self, other: "LabelledPixels") -> "LabelledPixels":
        """Return these tiles and then the other's."""
        return LabelledPixels(
            tiles=torch.cat([self.tiles, other.tiles]),
            pixels={name: torch.cat([each, other.pixels[name]]) for name, each in self.pixels.items()},
            labels=torch.cat([self.labels, other.labels]),
            groups=self.groups + other.groups,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelData:
    """All parts of a split of tiles with masks.

    Attributes
    ----------
    tasks
        What is asked, pixel tasks and tile tasks.
    train, selection
        What is learned from, and what the best epoch is chosen by.
    tests
        What the figures are of: by a name that is appended to the task's, empty for the first.
    spec
        What one tile is.
    fields
        Share of the training tiles that are shown as windows of simulated fields of several of them.
    masks
        Where the masks come from.
    facts
        What the card says about the data.
    """

    tasks: tuple[AnyTask, ...]
    train: LabelledPixels
    selection: LabelledPixels
    tests: Mapping[str, LabelledPixels]
    spec: TileSpec
    fields: float = 0.0
    masks: str = ""
    facts: Mapping[str, str | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, part in {"training": self.train, "selection": self.selection, **self.tests}.items():
            if not len(part):
                raise ValueError(
                    f"The {name or 'test'} part holds no tile. Add tiles, or change the shares of the split."
                )

    @property
    def tile_tasks(self) -> tuple[Task, ...]:
        """The tasks of the columns of the labels."""
        return tile_tasks(self.tasks)

    @property
    def pixel_tasks(self) -> tuple[PixelTask, ...]:
        """The tasks of pixels."""
        return pixel_tasks(self.tasks)

    def only(self, names: Sequence[str]) -> "PixelData":
        """Return the data with some of the tasks, in the data's order; all where `names` is empty.

        Raises
        ------
        ValueError
            If there is no task of a name.
        """
        known = [task.name for task in self.tasks]
        if strangers := [name for name in names if name not in known]:
            hint = nearest(strangers[0], known)
            raise ValueError(f"The data have no task {strangers[0]!r}.{hint} Known: {', '.join(known)}.")
        if not names:
            return self
        columns = [column for column, task in enumerate(self.tile_tasks) if task.name in names]

        def cut(part: LabelledPixels) -> LabelledPixels:
            pixels = {name: each for name, each in part.pixels.items() if name in names}
            return replace(part, pixels=pixels, labels=part.labels[:, columns])

        return replace(
            self,
            tasks=tuple(task for task in self.tasks if task.name in names),
            train=cut(self.train),
            selection=cut(self.selection),
            tests={name: cut(part) for name, part in self.tests.items()},
        )


def pixel_tasks(tasks: Sequence[AnyTask]) -> tuple[PixelTask, ...]:
    """Return the tasks that are asked of every pixel, in their order."""
    return tuple(task for task in tasks if isinstance(task, Segmentation | PixelRegression))


def tile_tasks(tasks: Sequence[AnyTask]) -> tuple[Task, ...]:
    """Return the tasks that are asked of whole tiles, in their order."""
    return tuple(task for task in tasks if not isinstance(task, Segmentation | PixelRegression))
