"""Encoder and aggregator as one module, the encoder in evaluation mode throughout."""

from collections.abc import Sequence

from torch import nn

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.training.around_aggregator import AroundAggregator


class EncoderAndAggregator(AroundAggregator):
    """What is optimised when tiles train their encoder.

    The encoder stays in evaluation mode while it learns: batch norms use the statistics that they came with (a batch of
    one slide's tiles is no sample of all tiles), nothing is dropped, and a tile's embedding does not depend on the
    tiles beside it. Gains and biases of norms learn with their block. What does not learn has no gradient and is not
    in the optimizer, so it stays as it is bit for bit.

    Parameters
    ----------
    network
        The encoder's network.
    aggregator
        Reads its embeddings.
    learning
        The network's parameters that learn; the others are frozen here.
    """

    def __init__(self, network: nn.Module, aggregator: Aggregator, *, learning: Sequence[nn.Parameter]) -> None:
        super().__init__(aggregator)
        self.network = network.requires_grad_(False).eval()
        self._learning = {id(parameter) for parameter in learning}
        for parameter in self.encoder_parameters():
            parameter.requires_grad_(True)

    def train(self, mode: bool = True) -> "EncoderAndAggregator":  # a name: type checks at run time know no Self here
        """Set the aggregator's mode; the encoder stays in evaluation mode."""
        super().train(mode)
        self.network.eval()
        return self

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the encoder's parameters that learn."""
        return [parameter for parameter in self.network.parameters() if id(parameter) in self._learning]

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that belong to no task alone, the encoder's among them."""
        return [*self.encoder_parameters(), *super().shared_parameters()]
