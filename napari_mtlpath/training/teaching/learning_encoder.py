"""The part of a model that learns where its tile encoder's last blocks do, too."""

from collections.abc import Collection

from torch import nn

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.training.end_to_end.blocks import learning_parameters
from napari_mtlpath.training.teaching.learning import LearningPart


class LearningWithEncoder(LearningPart):
    """A learning part in the shared mode, with an encoder that stays in evaluation mode while it learns.

    What does not learn has no gradient and stays as it is bit for bit; see
    :class:`napari_mtlpath.training.end_to_end.module.EncoderAndAggregator`.

    Parameters
    ----------
    aggregator, taught, pool
        As for :class:`napari_mtlpath.training.teaching.learning.LearningPart`.
    network
        The encoder's network, a copy of its own.
    blocks
        How many of its last blocks learn.

    Raises
    ------
    ValueError
        If the network has no weights, no blocks that can be told, or fewer.
    """

    def __init__(
        self, aggregator: Aggregator, taught: Collection[str], *, pool: int, network: nn.Module, blocks: int
    ) -> None:
        super().__init__(aggregator, taught, shared=True, pool=pool)
        self.network = network.requires_grad_(False).eval()
        self._blocks = learning_parameters(network, blocks, setting="encoder_blocks")
        for parameter in self._blocks:
            parameter.requires_grad_(True)

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the encoder's parameters that learn."""
        return list(self._blocks)

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that belong to no task alone, the encoder's among them."""
        return [*self._blocks, *super().shared_parameters()]
