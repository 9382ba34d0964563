"""Colour statistics: an encoder without weights, for offline tests and as the floor that a trained one must beat."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from napari_mtlpath.encoders.encoder import Encoder, EncoderFamily
from napari_mtlpath.units import TilePixels
from napari_mtlpath.weights import state_sha256

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
REVISION = 1
"""Counted up whenever the numbers change, because features on disk are keyed by it."""


class _Statistics(nn.Module):
    """Mean, standard deviation and quantiles of R, G, B and of their optical densities.

    A tile's colours are counted into one histogram of 256 bins per channel, from which every statistic follows exactly.
    Optical density is -log10((value + 1) / 256), from 0 (white) to 2.41 (black).
    """

    scales: Tensor
    quantiles: Tensor

    def __init__(self) -> None:
        super().__init__()
        grey = torch.arange(256, dtype=torch.float32)
        scales = torch.stack([grey / 255, -torch.log10((grey + 1) / 256)])
        self.register_buffer("scales", scales, persistent=False)
        self.register_buffer("quantiles", torch.tensor(QUANTILES), persistent=False)

    def forward(self, tiles: UInt8[Tensor, "tile y x 3"]) -> Float[Tensor, "tile feature"]:
        count, pixels = len(tiles), tiles.shape[1] * tiles.shape[2]
        channel = torch.arange(count * 3, device=tiles.device).view(count, 1, 3) * 256
        bins = tiles.reshape(count, pixels, 3).long() + channel
        counts = torch.bincount(bins.flatten(), minlength=count * 3 * 256).view(count, 3, 1, 256)
        histogram = counts.float() / pixels
        mean = (histogram * self.scales).sum(-1, keepdim=True)  # [tile, channel, scale, 1]
        deviation = (histogram * (self.scales - mean).square()).sum(-1, keepdim=True).sqrt()
        # The q-quantile is the smallest grey level that at least a share q of the pixels does not exceed.
        wanted = torch.ceil(self.quantiles * pixels).long().view(-1, 1)
        level = (counts.cumsum(-1) < wanted).sum(-1)  # [tile, channel, quantile]
        values = torch.stack([scale[level] for scale in self.scales], dim=2)  # [tile, channel, scale, quantile]
        return torch.cat([mean, deviation, values], dim=-1).flatten(1)


class _ColourStatistics(Encoder):
    def __init__(self, *, name: str, tile_px: int) -> None:
        self.name = name
        self.module = _Statistics().eval()
        self.features = 3 * 2 * (2 + len(QUANTILES))
        self.tile_px = TilePixels(tile_px)
        description = {"family": "colour_stats", "revision": REVISION, "tile_px": tile_px, "quantiles": QUANTILES}
        self.digest = state_sha256({}, description=description)

    def embed(self, tiles: UInt8[Tensor, "tile y x 3"]) -> Float[Tensor, "tile feature"]:
        return self.module(tiles)


class ColourStatistics(EncoderFamily):
    """Mean, standard deviation and quantiles of R, G, B and of their optical densities; option: ``tile_px``."""

    @classmethod
    def build(cls, *, name: str, options: Mapping[str, Any], state: Mapping[str, Tensor] | None) -> Encoder:
        """Build the encoder; it has no weights, so `state` must be empty or None."""
        unknown = set(options) - {"tile_px"}
        if unknown:
            raise ValueError(
                f"Encoder {name!r}: colour_stats knows the option tile_px; found {', '.join(sorted(unknown))}."
            )
        if state:
            raise ValueError(
                f"Encoder {name!r}: colour_stats has no weights; found {len(state)} tensors. Remove the file."
            )
        return _ColourStatistics(name=name, tile_px=int(options.get("tile_px", 224)))
