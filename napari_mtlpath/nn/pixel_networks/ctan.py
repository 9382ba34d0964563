"""CTAN: every task looks through the attention masks of the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from napari_mtlpath.nn.pixels.attention import MaskedLevels, mean_of_others
from napari_mtlpath.nn.pixels.cross_attention import Bottleneck, attended
from napari_mtlpath.nn.pixels.decoders import TaskFeatures
from napari_mtlpath.nn.pixels.options import PixelOptions
from napari_mtlpath.nn.pixels.staged import StagedNetwork


@dataclass(frozen=True, kw_only=True)
class CtanOptions(PixelOptions):
    """The architecture of a CTAN.

    Attributes
    ----------
    bottleneck
        How the tasks' coarsest features are joined.
    """

    bottleneck: Bottleneck = Bottleneck.ATTENTION


class Ctan(StagedNetwork):
    """Cross-task attention network (Kim et al., 2023, "Cross-Task Attention Network", eq. 1 and 2).

    A task's masks gate what the *other* task's decoder reads, at every level of the encoder and at the bottleneck: the
    loss of one task reaches the masks of all others. So a task can never be added, or taught, without changing the
    others' answers, and only the decoders belong to one task alone.
    """

    fewest_tasks = 2
    options_kind = CtanOptions
    architecture: CtanOptions

    def _assemble(self) -> None:
        names = [task.name for task in self.tasks]
        self.levels = MaskedLevels(names, found=self.backbone.channels, kept=self.channels, crossed=True)

    def _views(
        self, maps: Sequence[Float[Tensor, "tile _ _ _"]], shared: Sequence[Float[Tensor, "tile _ _ _"]]
    ) -> dict[str, TaskFeatures]:
        masked, finest = self.levels(maps, shared)
        coarsest = {task: self.bottleneck(skips[-1]) for task, skips in masked.items()}
        return {
            task: TaskFeatures(
                skips=skips,
                bottleneck=attended(coarsest[task], mean_of_others(coarsest, task), mode=self.architecture.bottleneck),
                mask=finest[task],
            )
            for task, skips in masked.items()
        }
