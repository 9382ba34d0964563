"""Faster arithmetic for an encoder, only where it was seen to give the same features."""

import logging

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.encoders.precision import Precision
from napari_mtlpath.weights import state_sha256

MIN_COSINE = 0.999
"""Least cosine between a tile's fast and its float32 features; below it the fast way is not used."""

FAST_DEVICES = frozenset({"cuda"})
"""Kinds of devices on which bfloat16 is faster; elsewhere float32 is used."""

logger = logging.getLogger(__name__)


def with_precision(encoder: Encoder, precision: Precision) -> Encoder:
    """Return the encoder itself for float32, or one that tries bfloat16 on CUDA."""
    return encoder if precision is Precision.FLOAT32 else BFloat16Encoder(encoder)


class BFloat16Encoder(Encoder):
    """Runs another encoder under bfloat16 autocast on CUDA, once that was seen to agree with float32.

    The first tiles on a device are embedded both ways. If any tile's features agree with a cosine below `MIN_COSINE`,
    that device keeps to float32 and a warning is logged.

    Attributes
    ----------
    agreed
        By device: whether the fast way is used there.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self.features = encoder.features
        self.tile_px = encoder.tile_px
        self.module = encoder.module
        self.digest = state_sha256({}, description={"encoder": encoder.digest, "precision": Precision.BFLOAT16.value})
        self.agreed: dict[torch.device, bool] = {}

    def embed(self, tiles: UInt8[Tensor, "tile y x 3"]) -> Float[Tensor, "tile feature"]:
        """Embed RGB tiles; float32 on the tiles' device."""
        device = tiles.device
        if device.type not in FAST_DEVICES:
            return self.encoder.embed(tiles)
        if device not in self.agreed:
            exact, fast = self.encoder.embed(tiles), self._fast(tiles)
            cosine = float(nn.functional.cosine_similarity(exact, fast).min())
            self.agreed[device] = cosine >= MIN_COSINE  # False for NaN too
            if not self.agreed[device]:
                logger.warning(
                    "Encoder %s keeps to float32: bfloat16 agrees only to a cosine of %.5f", self.name, cosine
                )
            return exact
        return self._fast(tiles) if self.agreed[device] else self.encoder.embed(tiles)

    def _fast(self, tiles: UInt8[Tensor, "tile y x 3"]) -> Float[Tensor, "tile feature"]:
        with torch.autocast(tiles.device.type, dtype=torch.bfloat16):
            return self.encoder.embed(tiles).float()
