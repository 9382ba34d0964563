"""What an encoder is: a frozen network that turns a tile into an embedding."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from napari_mtlpath.units import TilePixels


class Encoder(ABC):
    """Tile -> embedding. Built by its family from a card; holds its own preprocessing.

    Attributes
    ----------
    name
        The card's name, such as ``"levit-wbc"``.
    features
        Length of the embedding.
    tile_px
        Side in pixels of the tiles that it takes.
    digest
        SHA-256 (hex) over weights, architecture and preprocessing: part of every feature key.
    module
        The torch module, in eval mode; its forward takes uint8 tiles too. Empty where torch does not compute it.
    base_digest
        The digest that the encoder has in torch; its own except where other arithmetic stands for torch's.
    backend
        What computes it, in words.
    """

    name: str
    features: int
    tile_px: TilePixels
    digest: str
    module: nn.Module
    backend: str = "torch"

    @property
    def base_digest(self) -> str:
        """The digest that the encoder has in torch."""
        return self.digest

    def to(self, device: torch.device) -> None:
        """Move the network to a device."""
        self.module.to(device)

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
