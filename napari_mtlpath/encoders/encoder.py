"""What an encoder is: a frozen network that turns a tile into an embedding."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_mtlpath.encoders.tile_encoder import TileEncoder
from napari_mtlpath.processors import Processor


class Encoder(TileEncoder):
    """An encoder that torch computes. Built by its family from a card; holds its own preprocessing.

    Attributes
    ----------
    module
        The torch module, in eval mode; its forward takes uint8 tiles too.
    device
        Where it is.
    """

    module: nn.Module
    device: torch.device = torch.device("cpu")

    def to(self, device: Processor) -> None:
        """Move the network to a device."""
        self.device = torch.device(str(device))
        self.module.to(self.device)

    def embed_pixels(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed RGB tiles [tile, y, x, 3] on the encoder's device; float32 [tile, feature]."""
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(tiles))
            if self.device.type == "cuda":
                batch = batch.pin_memory()
            features = self.embed(batch.to(self.device, non_blocking=True))
            found: NDArray[np.float32] = features.to("cpu", torch.float32).numpy()
        return found

    @abstractmethod
    def embed(self, tiles: UInt8[Tensor, "tile y x 3"]) -> Float[Tensor, "tile feature"]:
        """Embed RGB tiles.

        Normalisation happens inside, on the module's device. The result is float32 on that device. The caller
        sets ``torch.inference_mode``. On a CPU several threads call it at once.
        """


class EncoderFamily(ABC):
    """A library that encoders come from. One subclass per module of ``napari_mtlpath.encoders.families``."""

    @classmethod
    @abstractmethod
    def build(cls, *, name: str, options: Mapping[str, Any], state: Mapping[str, Tensor] | None) -> Encoder:
        """Build an encoder from its card's ``[architecture]`` table and its weights.

        Parameters
        ----------
        name
            The card's name.
        options
            The card's ``[architecture]`` table, without ``family``.
        state
            The weights (already checked: finite, expected hash), or None where the family brings its own.

        Raises
        ------
        ValueError
            If an option is unknown or the weights do not fit; the message lists missing, extra and misshapen keys.
        """
