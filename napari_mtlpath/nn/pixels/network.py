"""What a pixel network is: tiles in, answers for every pixel and for whole tiles out."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from napari_mtlpath.nn.options import nearest
from napari_mtlpath.tasks import AnyTask


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelOutput:
    """What a pixel network says about some tiles.

    Attributes
    ----------
    tasks
        By task. Of pixels: logits or values, [tile, output, y, x], at the tiles' own resolution. Of tiles: logits,
        [tile, output].
    attention
        By task, where asked for and where the network has any: its finest attention mask, meant over channels, 0 to 1,
        [tile, y, x], at the tiles' own resolution.
    """

    tasks: Mapping[str, Tensor]
    attention: Mapping[str, Float[Tensor, "tile y x"]] = field(default_factory=dict)


class PixelNetwork(nn.Module, ABC):
    """Tiles -> answers of pixel tasks and tile tasks. One public subclass per module of ``nn.pixel_networks``.

    Attributes
    ----------
    tasks
        What it answers, in its order.
    fewest_tasks
        How many tasks it needs at least.
    """

    tasks: tuple[AnyTask, ...]
    fewest_tasks: ClassVar[int] = 1

    @classmethod
    @abstractmethod
    def build(
        cls, *, tasks: Sequence[AnyTask], options: Mapping[str, Any], generator: torch.Generator | None = None
    ) -> "PixelNetwork":
        """Build from a card's ``[architecture]`` table; unknown options raise ValueError naming the known ones.

        `generator` makes the starting weights reproducible; None uses torch's global one.
        """

    @property
    @abstractmethod
    def options(self) -> dict[str, Any]:
        """The plain table from which :meth:`build` makes this architecture again, defaults included."""

    @abstractmethod
    def forward(
        self, tiles: UInt8[Tensor, "tile y x 3"], *, wanted: Iterable[str] | None = None, explain: bool = False
    ) -> PixelOutput:
        """Answer about tiles of any size from 32 pixels.

        Parameters
        ----------
        tiles
            RGB.
        wanted
            Names of the tasks to answer (default: all); the decoders of others take no part in the graph.
        explain
            Also return attention masks, where the network has them.
        """

    @abstractmethod
    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the parameters that no other task's loss reaches."""

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that belong to no task alone."""
        private = {id(parameter) for task in self.tasks for parameter in self.task_parameters(task.name)}
        return [parameter for parameter in self.parameters() if id(parameter) not in private]

    def _wanted(self, wanted: Iterable[str] | None) -> tuple[str, ...]:
        names = tuple(task.name for task in self.tasks)
        chosen = names if wanted is None else tuple(wanted)
        for name in chosen:
            if name not in names:
                raise ValueError(f"This model has no task {name!r}.{nearest(name, names)} Known: {', '.join(names)}.")
        return chosen


def check_pixel_tasks(tasks: Sequence[AnyTask], *, fewest: int, network: str) -> tuple[AnyTask, ...]:
    """Return `tasks` as a tuple; raise ValueError when there are too few, or two share a name or it cannot be one."""
    names = [task.name for task in tasks]
    if len(names) < fewest:
        raise ValueError(
            f"Network {network!r} lets tasks attend to each other and needs at least {fewest}; found {len(names)}. "
            "Choose network 'single' for one task."
            if fewest > 1
            else "A pixel model needs at least one task; found none."
        )
    if len(set(names)) != len(names):
        raise ValueError(f"Each task needs a name of its own; found {names}.")
    if odd := [name for name in names if not name or "." in name or hasattr(nn.ModuleDict, name)]:
        raise ValueError(
            f"No task can be called {odd[0]!r}: torch keeps dots and words such as 'type' for itself. Rename it."
        )
    return tuple(tasks)
