"""A tile encoder with one linear head per task; every sample goes through the head of its own task."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional

from napari_mtlpath.tasks import Classification


class PoolNetwork(nn.Module):
    r"""Network -> one linear head per task (Mormont et al., 2021, section IV-A).

    The loss of a batch is the mean over its B samples, :math:`\frac{1}{B} \sum_t \ell_t` (eq. 1), so that a head with
    :math:`n_t` samples gets :math:`n_t / B` of the gradient that it would get alone. The gradient of a head's own
    parameters is therefore multiplied by :math:`B / n_t` (supplement C): it is that of the mean over the head's own
    samples. What flows on into the network stays as it is.

    A head without a sample in the batch takes no part in the graph: its gradient is None, and neither momentum nor
    weight decay moves it.

    Parameters
    ----------
    network
        Takes uint8 tiles, returns [tile, feature]. Its parameters belong to all tasks.
    features
        Length of the embedding.
    tasks
        What the heads answer.
    dropout
        On the embedding, while training.
    """

    def __init__(
        self, network: nn.Module, *, features: int, tasks: Sequence[Classification], dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.features = features
        self.network = network
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({task.name: nn.Linear(features, task.outputs) for task in tasks})

    def forward(
        self, tiles: UInt8[Tensor, "tile y x 3"], tasks: Int64[Tensor, " tile"]
    ) -> dict[str, Float[Tensor, "own output"]]:
        """Return by task the logits of its own tiles, in their order; tasks without a tile are left out.

        Parameters
        ----------
        tiles
            A batch of several tasks.
        tasks
            Index of each tile's task.
        """
        features = self.dropout(self.network(tiles))
        answers = {}
        for task, own in self.present(tasks):
            head = self.heads[task.name]
            factor = len(tasks) / int(own.sum())
            weight, bias = (_scaled_gradient(parameter, factor) for parameter in head.parameters())
            answers[task.name] = functional.linear(features[own], weight, bias)
        return answers

    def present(self, tasks: Int64[Tensor, " tile"]) -> Iterator[tuple[Classification, Tensor]]:
        """Yield the tasks that have a tile, each with the mask of its tiles."""
        for index, task in enumerate(self.tasks):
            own = tasks == index
            if bool(own.any()):
                yield task, own

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the parameters of one task's head."""
        return list(self.heads[task].parameters())

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the network."""
        return list(self.network.parameters())

    def freeze(self, frozen: bool) -> None:
        """Freeze the network or let it learn; frozen, it is in evaluation mode and its batch norms remember nothing."""
        self.network.requires_grad_(not frozen)
        self.network.train(not frozen)


class _ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a number."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, factor: float) -> Tensor:  # noqa: ANN401  torch's own context
        ctx.factor = factor
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        return outer[0] * ctx.factor, None


def _scaled_gradient(tensor: Tensor, factor: float) -> Tensor:
    scaled: Tensor = _ScaledGradient.apply(tensor, factor)  # type: ignore[no-untyped-call]  # torch's own
    return scaled
