"""MTAN: every task picks from the shared features with attention masks of its own."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from napari_mtlpath.nn.pixels.attention import MaskedLevels
from napari_mtlpath.nn.pixels.decoders import TaskFeatures
from napari_mtlpath.nn.pixels.staged import StagedNetwork


class Mtan(StagedNetwork):
    """Multi-task attention network (Liu et al., 2019, arXiv:1803.10704): CTAN's masks, not crossed, no bottleneck."""

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the parameters of the task's decoder and masks, which no other task reads."""
        return [*super().task_parameters(task), *self.levels.tasks[task].parameters()]

    def _assemble(self) -> None:
        names = [task.name for task in self.tasks]
        self.levels = MaskedLevels(names, found=self.backbone.channels, kept=self.channels, crossed=False)

    def _views(
        self, maps: Sequence[Float[Tensor, "tile _ _ _"]], shared: Sequence[Float[Tensor, "tile _ _ _"]]
    ) -> dict[str, TaskFeatures]:
        masked, finest = self.levels(maps, shared)
        return {
            task: TaskFeatures(skips=skips, bottleneck=self.bottleneck(skips[-1]), mask=finest[task])
            for task, skips in masked.items()
        }
