"""A network with one backbone, blocks behind each of its levels, and one decoder per task."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from napari_mtlpath.nn.options import plain_options, read_options
from napari_mtlpath.nn.pixels.backbone import Backbone
from napari_mtlpath.nn.pixels.decoders import PixelDecoder, TaskFeatures, TileDecoder
from napari_mtlpath.nn.pixels.layers import convolution, enlarged
from napari_mtlpath.nn.pixels.network import PixelNetwork, PixelOutput, check_pixel_tasks
from napari_mtlpath.nn.pixels.options import PixelOptions
from napari_mtlpath.nn.seeding import initialised_by
from napari_mtlpath.tasks import AnyTask, PixelRegression, Segmentation


class StagedNetwork(PixelNetwork):
    r"""Backbone :math:`U^j`, :math:`P^j = Conv_2(Conv_1(U^j))` of each level, and a decoder per task that reads them.

    As it is, all tasks read the same :math:`P^j`: hard parameter sharing. A subclass gives each task its own view of
    them, by :meth:`_assemble` and :meth:`_views`.

    Parameters
    ----------
    tasks, generator
        As in :meth:`build`.
    architecture
        A value of `options_kind`.
    """

    options_kind: ClassVar[type[PixelOptions]] = PixelOptions
    architecture: PixelOptions

    def __init__(
        self, *, tasks: Sequence[AnyTask], architecture: PixelOptions, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.tasks = check_pixel_tasks(tasks, fewest=self.fewest_tasks, network=type(self).__name__.lower())
        self.architecture = architecture
        with initialised_by(generator):
            self.backbone = Backbone(
                architecture.backbone,
                arguments=architecture.arguments,
                levels=architecture.levels,
                mean=architecture.mean,
                std=architecture.std,
            )
            self.channels = tuple(min(each, architecture.widest or each) for each in self.backbone.channels)
            self.blocks = nn.ModuleList(
                nn.Sequential(convolution(found, kept), convolution(kept, kept))
                for found, kept in zip(self.backbone.channels, self.channels, strict=True)
            )
            self.bottleneck = convolution(self.channels[-1], self.channels[-1])
            self.decoders = nn.ModuleDict({task.name: _decoder(task, self.channels) for task in self.tasks})
            self._assemble()

    @classmethod
    def build(
        cls, *, tasks: Sequence[AnyTask], options: Mapping[str, Any], generator: torch.Generator | None = None
    ) -> "StagedNetwork":
        """Build from a plain table of the options of `options_kind`."""
        return cls(tasks=tasks, architecture=read_options(cls.options_kind, options), generator=generator)

    @property
    def options(self) -> dict[str, Any]:
        """The plain table from which :meth:`build` makes this architecture again."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in plain_options(self.architecture).items()
        }

    def forward(
        self, tiles: UInt8[Tensor, "tile y x 3"], *, wanted: Iterable[str] | None = None, explain: bool = False
    ) -> PixelOutput:
        """Answer about tiles; see :meth:`PixelNetwork.forward`."""
        size = (tiles.shape[1], tiles.shape[2])
        maps = self.backbone(tiles)
        views = self._views(maps, [block(each) for block, each in zip(self.blocks, maps, strict=True)])
        answers = {name: self.decoders[name](views[name], size) for name in self._wanted(wanted)}
        masks = {name: view.mask for name, view in views.items() if view.mask is not None} if explain else {}
        attention = {name: enlarged(mask.mean(1, keepdim=True), size)[:, 0] for name, mask in masks.items()}
        return PixelOutput(tasks=answers, attention=attention)

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the parameters of the task's decoder."""
        (name,) = self._wanted([task])
        return list(self.decoders[name].parameters())

    def _assemble(self) -> None:
        """Make what lies between the blocks and the decoders; nothing where all tasks read the same."""

    def _views(
        self, maps: Sequence[Float[Tensor, "tile _ _ _"]], shared: Sequence[Float[Tensor, "tile _ _ _"]]
    ) -> dict[str, TaskFeatures]:
        """Return what each task's decoder reads, from the backbone's maps and from the blocks' behind them."""
        same = TaskFeatures(skips=shared, bottleneck=self.bottleneck(shared[-1]))
        return {task.name: same for task in self.tasks}


def _decoder(task: AnyTask, channels: Sequence[int]) -> PixelDecoder | TileDecoder:
    if isinstance(task, Segmentation | PixelRegression):
        return PixelDecoder(channels, outputs=task.outputs)
    return TileDecoder(channels, outputs=task.outputs)
