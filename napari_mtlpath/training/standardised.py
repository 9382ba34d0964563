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
