"""Single-task learning: a network for each task, side by side, that share nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from napari_mtlpath.nn.options import read_options
from napari_mtlpath.nn.pixels.network import PixelNetwork, PixelOutput, check_pixel_tasks
from napari_mtlpath.nn.pixels.options import PixelOptions
from napari_mtlpath.nn.pixels.staged import StagedNetwork
from napari_mtlpath.tasks import AnyTask


class Single(PixelNetwork):
    """One encoder and one decoder per task: what tasks learned together are compared with.

    Parameters
    ----------
    tasks, generator
        As in :meth:`build`.
    architecture
        Of each of the networks.
    """

    def __init__(
        self, *, tasks: Sequence[AnyTask], architecture: PixelOptions, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.tasks = check_pixel_tasks(tasks, fewest=1, network="single")
        self.networks = nn.ModuleDict(
            {
                task.name: StagedNetwork(tasks=[task], architecture=architecture, generator=generator)
                for task in self.tasks
            }
        )

    @classmethod
    def build(
        cls, *, tasks: Sequence[AnyTask], options: Mapping[str, Any], generator: torch.Generator | None = None
    ) -> "Single":
        """Build from a plain table of :class:`PixelOptions`."""
        return cls(tasks=tasks, architecture=read_options(PixelOptions, options), generator=generator)

    @property
    def options(self) -> dict[str, Any]:
        """The plain table from which :meth:`build` makes this architecture again."""
        first = self.networks[self.tasks[0].name]
        assert isinstance(first, StagedNetwork)
        return first.options

    def forward(
        self, tiles: UInt8[Tensor, "tile y x 3"], *, wanted: Iterable[str] | None = None, explain: bool = False
    ) -> PixelOutput:
        """Answer about tiles; there is no attention to `explain`."""
        return PixelOutput(tasks={name: self.networks[name](tiles).tasks[name] for name in self._wanted(wanted)})

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the parameters of the task's network."""
        (name,) = self._wanted([task])
        return list(self.networks[name].parameters())
