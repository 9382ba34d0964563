"""A network that takes uint8 tiles: normalisation and backbone in one module."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.units import TilePixels
from napari_mtlpath.weights import state_sha256


class TileNetwork(nn.Module):
    """Scales uint8 RGB tiles to 0 to 1, subtracts `mean`, divides by `std`, and applies `backbone`.

    Parameters
    ----------
    backbone
        Takes float [tile, 3, y, x] and returns [tile, feature].
    mean, std
        Per channel, in units of 0 to 1.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, backbone: nn.Module, *, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.backbone = backbone
        # Not persistent: they belong to the card's options, not to the weights.
        centre, spread = (torch.tensor([float(v) for v in values]).view(3, 1, 1) for values in (mean, std))
        self.register_buffer("scale", 1 / (255 * spread), persistent=False)
        self.register_buffer("shift", centre / spread, persistent=False)
        self.register_load_state_dict_post_hook(forget_what_was_computed)  # type: ignore[no-untyped-call]  # torch's

    def forward(self, tiles: UInt8[Tensor, "tile y x 3"]) -> Float[Tensor, "tile feature"]:
        """Return the embeddings; the result keeps its gradient where grad is on, so the network can be trained."""
        return self.backbone(tiles.permute(0, 3, 1, 2).float() * self.scale - self.shift)


def forget_what_was_computed(module: nn.Module, *_: object) -> None:
    """Drop the attention biases that timm's LeViT keeps in eval mode: with new weights it would go on with the old."""
    for part in module.modules():
        kept = getattr(part, "attention_bias_cache", None)
        if isinstance(kept, dict):
            kept.clear()


class NetworkEncoder(Encoder):
    """An encoder around a :class:`TileNetwork`; its digest covers the weights as they are now and `description`."""

    module: TileNetwork

    def __init__(self, *, name: str, module: TileNetwork, tile_px: int, description: Mapping[str, Any]) -> None:
        self.name = name
        self.module = module.eval()
        self.tile_px = TilePixels(tile_px)
        self.description = dict(description)
        self.digest = state_sha256(module.state_dict(), description=self.description)
        probe = torch.zeros(1, tile_px, tile_px, 3, dtype=torch.uint8)
        with torch.inference_mode():
            self.features = int(module(probe).shape[1])
        forget_what_was_computed(module)

    def embed(self, tiles: UInt8[Tensor, "tile y x 3"]) -> Float[Tensor, "tile feature"]:
        """Embed RGB tiles; float32."""
        return self.module(tiles).float()
