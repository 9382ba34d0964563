"""The part of a model that learns: everything else is frozen and stays in evaluation mode."""

from collections.abc import Collection

import torch

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.tasks import Task
from napari_mtlpath.training.around_aggregator import AroundAggregator


class LearningPart(AroundAggregator):
    """An aggregator in which some tasks' own parameters learn, and on request those that all tasks share.

    Parameters
    ----------
    aggregator
        The model; its parameters' `requires_grad` is set here.
    taught
        Names of the tasks that are taught.
    shared
        Whether the shared parameters learn too, which reaches all tasks; the others' own parameters never do.
    pool
        Number of tiles that nobody labelled, of all lessons together; which of them their task calls positive is kept
        here, in the state.
    """

    never_set_aside = -1

    def __init__(self, aggregator: Aggregator, taught: Collection[str], *, shared: bool, pool: int) -> None:
        super().__init__(aggregator)
        self.taught = frozenset(taught)
        self.shared = shared
        self.set_aside: torch.Tensor
        self.set_aside_in: torch.Tensor
        self.register_buffer("set_aside", torch.ones(pool, dtype=torch.bool))
        self.register_buffer("set_aside_in", torch.tensor(self.never_set_aside))
        learning = {id(parameter) for task in self.taught for parameter in aggregator.task_parameters(task)}
        learning |= {id(parameter) for parameter in aggregator.shared_parameters()} if shared else set()
        for parameter in aggregator.parameters():
            parameter.requires_grad_(id(parameter) in learning)
        self._learning = [
            module
            for module in aggregator.modules()
            if (found := [id(parameter) for parameter in module.parameters()]) and learning.issuperset(found)
        ]
        self.train(False)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that have a loss."""
        every = self.aggregator.tasks
        return every if self.shared else tuple(task for task in every if task.name in self.taught)

    def train(self, mode: bool = True) -> "LearningPart":
        """Set the training mode of what learns; the rest stays in evaluation mode whatever `mode` is."""
        self.training = mode
        self.aggregator.eval()
        for module in self._learning:
            module.train(mode)
        return self
