"""An aggregator that reads the tiles alike for all tasks and then answers each by a module of its own."""

from abc import abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from napari_mtlpath.nn.configured import ConfiguredAggregator
from napari_mtlpath.nn.outputs import BagOutput


class PerTaskAggregator(ConfiguredAggregator):
    """Shared tiles, then one module per task: ``module(tiles, explain)`` gives the task's output.

    A subclass makes its modules in :meth:`_assemble`, those of the tasks as one `ModuleList` in their order, and says
    in :meth:`_tiles` how the tiles are read.

    Attributes
    ----------
    own_modules
        Name of the attribute with the tasks' modules; it is part of the names of the weights.
    """

    represents = True
    own_modules: ClassVar[str]

    def forward(
        self,
        bag: Float[Tensor, "tile feature"],
        coordinates: Float[Tensor, "tile 2"] | None = None,
        *,
        explain: bool = False,
    ) -> BagOutput:
        """Aggregate one bag of at least one tile; `coordinates` are not used."""
        self._check_bag(bag)
        tiles = self.represented(self._tiles(bag))
        own = zip(self.tasks, self._own_modules(), strict=True)
        return BagOutput(tasks={task.name: module(tiles, explain) for task, module in own})

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the parameters of one task's module."""
        return list(self._own_modules()[self._index_of(task)].parameters())

    @abstractmethod
    def _tiles(self, bag: Float[Tensor, "tile feature"]) -> Float[Tensor, "tile width"]:
        """Return the tiles as all tasks read them."""

    def _own_modules(self) -> nn.ModuleList:
        found = getattr(self, self.own_modules)
        assert isinstance(found, nn.ModuleList)
        return found
