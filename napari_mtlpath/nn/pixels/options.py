"""Options that all pixel networks have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from napari_mtlpath.nn.options import check_count


@dataclass(frozen=True, kw_only=True)
class PixelOptions:
    """What a pixel network is built on.

    Attributes
    ----------
    backbone
        Any model of timm that takes ``features_only=True``.
    arguments
        Passed to ``timm.create_model``, such as ``{"channels": [16, 32, 64, 128]}`` for a small ResNet.
    levels
        How many of the backbone's coarsest feature maps are used: 4 as published; a ResNet has a fifth at half the
        tile's resolution, which makes outlines finer.
    widest
        Most channels that a level has behind the backbone; 0 keeps the backbone's, as published.
    mean, std
        Of the tiles' channels, in units of 0 to 1.
    """

    backbone: str = "resnet18"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    levels: int = 4
    widest: int = 0
    mean: Sequence[float] = (0.5, 0.5, 0.5)
    std: Sequence[float] = (0.25, 0.25, 0.25)

    def __post_init__(self) -> None:
        check_count("levels", self.levels)
        if self.levels < 2:
            raise ValueError(f"Option 'levels' must be at least 2: a decoder needs skips; found {self.levels}.")
        if self.widest < 0:
            raise ValueError(f"Option 'widest' must be at least 0; found {self.widest}.")
        for name in ("mean", "std"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != 3 or (name == "std" and min(values) <= 0):
                raise ValueError(f"Option {name!r} must hold three numbers, those of 'std' above 0; found {values}.")
            object.__setattr__(self, name, values)  # TOML knows lists only
