"""Encoder, projector and monitor, as they are while being trained."""

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from napari_mtlpath.encoders.projector import Projector
from napari_mtlpath.training.slide_aware.collapse import CollapseMonitor


class SlideAwareNetwork(nn.Module):
    """Encoder network -> features -> projector -> what the objectives compare.

    All parameters are shared: the objectives pull at all of them, the projector's included, as published.

    Parameters
    ----------
    network
        Takes uint8 tiles, returns [tile, feature].
    features
        Length of the embedding.
    width
        Of the projector's hidden and last layer.
    monitor
        Watches what the projector gives.
    """

    def __init__(self, network: nn.Module, *, features: int, width: int, monitor: CollapseMonitor) -> None:
        super().__init__()
        self.network = network
        self.projector = Projector(features, width=width)
        self.monitor = monitor
        self.features = features

    def forward(self, views: UInt8[Tensor, "view y x 3"]) -> Float[Tensor, "view projected"]:
        """Return the projections of views; batch norms see all of them together."""
        return self.projector(self.network(views))

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return all parameters."""
        return list(self.parameters())
