"""The encoder of a pixel network: the feature maps of any network of timm that gives them."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

SMALLEST_TILE = 32
"""Side in pixels below which the coarsest stage of common backbones has no pixel left."""

SET_BY_US = frozenset({"num_classes", "features_only", "out_indices", "checkpoint_path", "cache_dir"})
"""Arguments of ``timm.create_model`` that a card may not give, like all that begin with "pretrained": they would load
files, pickles among them, or change what the network returns."""


class Backbone(nn.Module):
    """Scales uint8 tiles to 0 to 1, normalises them, and returns the feature maps of a network, fine to coarse.

    Parameters
    ----------
    name
        A model of timm that takes ``features_only=True``; its weights are random, to be trained.
    arguments
        Passed to ``timm.create_model``.
    levels
        How many of its coarsest feature maps are used.
    mean, std
        Per channel, in units of 0 to 1.

    Attributes
    ----------
    channels
        Of each feature map.

    Raises
    ------
    ValueError
        If timm has no such model, cannot build it, or it has fewer levels.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        name: str,
        *,
        arguments: Mapping[str, Any],
        levels: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.network = _network(name, arguments)
        info: Any = self.network.feature_info
        found = list(info.channels())
        if len(found) < levels:
            raise ValueError(f"Backbone {name!r} has {len(found)} levels of features; found levels = {levels}.")
        self.levels = levels
        self.channels = tuple(found[-levels:])
        self._channels_last = str(getattr(self.network, "output_fmt", "")).endswith("NHWC")  # Swin and its kind
        # Not persistent: they belong to the card's options, not to the weights.
        centre, spread = (torch.tensor([float(v) for v in values]).view(3, 1, 1) for values in (mean, std))
        self.register_buffer("scale", 1 / (255 * spread), persistent=False)
        self.register_buffer("shift", centre / spread, persistent=False)

    def forward(self, tiles: UInt8[Tensor, "tile y x 3"]) -> list[Float[Tensor, "tile _ _ _"]]:
        """Return the feature maps, the finest first."""
        if min(tiles.shape[1:3]) < SMALLEST_TILE:
            raise ValueError(
                f"Tiles need at least {SMALLEST_TILE} x {SMALLEST_TILE} pixels; found {list(tiles.shape[1:3])}."
            )
        maps = self.network(tiles.permute(0, 3, 1, 2).float() * self.scale - self.shift)[-self.levels :]
        return [each.permute(0, 3, 1, 2).contiguous() for each in maps] if self._channels_last else list(maps)


def _network(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    import timm

    refused = sorted(key for key in arguments if key in SET_BY_US or key.startswith("pretrained"))
    if refused:
        raise ValueError(f"A pixel model may not give timm the arguments {', '.join(refused)}.")
    names = timm.list_models()
    if name not in names:
        nearest = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"timm {timm.__version__} has no backbone {name!r}.{hint}")
    try:
        return timm.create_model(name, pretrained=False, features_only=True, **arguments)
    except (TypeError, RuntimeError, AssertionError, AttributeError) as error:
        raise ValueError(f"timm cannot give feature maps of {name!r} with {dict(arguments)}: {error}") from error
