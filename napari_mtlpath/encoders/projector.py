"""The projector of contrastive pre-training: what objectives compare lies behind it."""

from torch import nn


class Projector(nn.Sequential):
    """Linear, ReLU, linear (Chen et al., 2020, arXiv:2002.05709, section 4.2).

    Parameters
    ----------
    features
        Length of the embedding that it takes.
    width
        Length of its hidden layer and of what it returns.
    """

    def __init__(self, features: int, *, width: int) -> None:
        super().__init__(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width))
