"""The tiles behind a bag's features, read when they are needed."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor


class TilePool(ABC):
    """Tiles that bags are made of, numbered from 0.

    Attributes
    ----------
    shared
        Whether several bags show the same tiles, so that an embedding is worth keeping while weights stay.
    """

    shared: bool = False

    @abstractmethod
    def __len__(self) -> int:
        """Return how many tiles there are."""

    @abstractmethod
    def read(self, rows: Int64[Tensor, " tile"]) -> UInt8[Tensor, "tile y x 3"]:
        """Return tiles as the encoder takes them.

        Raises
        ------
        OSError
            If a tile cannot be read.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class BagTiles:
    """Which tiles of a pool a bag shows, in the order of its features.

    Attributes
    ----------
    pool
        Where the pixels come from.
    rows
        Numbers in the pool, [tile].
    learned
        Places in the bag whose gradient reaches the encoder, ascending; None for all.
    """

    pool: TilePool
    rows: Int64[Tensor, " tile"]
    learned: Int64[Tensor, " learned"] | None = None

    def only(self, places: Int64[Tensor, " place"]) -> "BagTiles":
        """Return the tiles at some places of the bag."""
        return BagTiles(pool=self.pool, rows=self.rows[places])

    def learning_from(self, count: int, generator: torch.Generator) -> "BagTiles":
        """Return the same tiles, `count` of them chosen at random to learn from; 0 chooses all."""
        if count == 0 or count >= len(self.rows):
            return replace(self, learned=None)
        return replace(self, learned=torch.randperm(len(self.rows), generator=generator)[:count].sort().values)
