"""A module that trains an aggregator together with something else, and answers for it."""

from torch import nn

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.nn.representation import Representation
from napari_mtlpath.tasks import Task


class AroundAggregator(nn.Module):
    """What an :class:`~napari_mtlpath.training.step.update.Update` asks of a module, answered by its aggregator.

    Parameters
    ----------
    aggregator
        Embeddings to answers.
    """

    def __init__(self, aggregator: Aggregator) -> None:
        super().__init__()
        self.aggregator = aggregator

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that have a loss."""
        return self.aggregator.tasks

    @property
    def represents(self) -> bool:
        """Whether the aggregator hands out its shared representation."""
        return self.aggregator.represents

    @property
    def representation(self) -> Representation | None:
        """Where the aggregator records its shared representation."""
        return self.aggregator.representation

    @representation.setter
    def representation(self, value: Representation | None) -> None:
        self.aggregator.representation = value

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the parameters that belong to one task alone."""
        return self.aggregator.task_parameters(task)

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that belong to no task alone."""
        return self.aggregator.shared_parameters()
