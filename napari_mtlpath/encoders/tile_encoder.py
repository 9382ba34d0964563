"""What every tile encoder is, whatever computes it: pixels in, embeddings out, both as numpy arrays."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.processors import Processor
from napari_mtlpath.units import TilePixels


class TileEncoder(ABC):
    """Tile -> embedding.

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
    base_digest
        The digest that the encoder has in torch; its own except where other arithmetic stands for torch's.
    backend
        What computes it, in words.
    """

    name: str
    features: int
    tile_px: TilePixels
    digest: str
    backend: str = "torch"

    @property
    def base_digest(self) -> str:
        """The digest that the encoder has in torch."""
        return self.digest

    @abstractmethod
    def to(self, device: Processor) -> None:
        """Compute on a device from now on."""

    @abstractmethod
    def embed_pixels(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed RGB tiles [tile, y, x, 3]; float32 [tile, feature].

        Normalisation happens inside. On a CPU several threads call it at once.
        """
