"""Folding the standardisation of features into the first layer of an aggregator."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


@torch.no_grad()
def fold_standardisation(
    module: nn.Module, *, mean: Float[Tensor, " feature"], scale: Float[Tensor, " feature"]
) -> None:
    """Change `module`, trained on ``(x - mean) * scale``, so that it answers the same for x itself.

    ``W ((x - m) s) + b = (W s) x + (b - W s m)``, up to rounding.

    Raises
    ------
    TypeError
        If the module does not begin with linear layers on the features.
    """
    for layer in first_layers(module):
        layer.weight.mul_(scale)
        layer.bias.sub_(layer.weight @ mean)


def first_layers(module: nn.Module) -> list[nn.Linear]:
    """Return the linear layers that read the features: the projection, or the heads where nothing comes before them."""
    first = module.get_submodule("projection") if hasattr(module, "projection") else getattr(module, "heads", None)
    match first:
        case nn.Linear():
            return [first]
        case nn.Sequential() if isinstance(first[0], nn.Linear):
            return [first[0]]
        case nn.ModuleList() if all(isinstance(layer, nn.Linear) for layer in first):
            return [layer for layer in first if isinstance(layer, nn.Linear)]
    raise TypeError(
        f"Expected {type(module).__name__} to begin with a linear 'projection' or with linear 'heads'; "
        f"found {type(first).__name__}."
    )


LEAST_SPREAD = 1e-3
"""Of the median spread of the features that vary: what varies less is scaled as if it varied that much."""


def scale_of(spread: Float[Tensor, " feature"]) -> Float[Tensor, " feature"]:
    """Return what features are multiplied by, so that each varies by about 1.

    A feature that hardly varies (a dead unit of the encoder) says nothing. Divided by its own spread it would be noise,
    and its folded weight could not be stored in float16.

    Examples
    --------
    >>> [round(value, 2) for value in scale_of(torch.tensor([0.5, 0.5, 2.0, 0.0])).tolist()]
    [2.0, 2.0, 0.5, 1996.01]
    """
    varying = spread[spread > 0]
    floor = LEAST_SPREAD * float(varying.median()) if len(varying) else 1.0
    return 1.0 / (spread.clamp_min(floor) + 1e-6)
