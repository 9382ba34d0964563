"""The pixels of some tiles of one or several slides, numbered anew."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from napari_mtlpath.training.end_to_end.tiles import BagTiles, TilePool
from napari_mtlpath.training.teaching.lesson import TaughtBag


class ChosenTiles(TilePool):
    """Tiles of other pools, one after the other.

    Parameters
    ----------
    parts
        A pool and the numbers of tiles in it, several times.
    """

    shared = True

    def __init__(self, parts: Sequence[tuple[TilePool, Int64[Tensor, " tile"]]]) -> None:
        self.parts = tuple(parts)
        self._ends = np.cumsum([len(rows) for _, rows in self.parts])

    def __len__(self) -> int:
        """Return how many tiles there are."""
        return int(self._ends[-1])

    def read(self, rows: Int64[Tensor, " tile"]) -> UInt8[Tensor, "tile y x 3"]:
        """Return tiles as the encoder takes them; errors as those of the other pools."""
        asked = rows.numpy()
        parts = np.searchsorted(self._ends, asked, side="right")
        read: dict[int, Tensor] = {}
        for number in np.unique(parts).tolist():
            pool, inner = self.parts[number]
            places = np.flatnonzero(parts == number)
            first = int(self._ends[number - 1]) if number else 0
            pixels = pool.read(inner[torch.from_numpy(asked[places] - first)])
            read |= dict(zip(places.tolist(), pixels, strict=True))
        return torch.stack([read[place] for place in range(len(asked))])


def chosen_tiles(bag: TaughtBag, places: NDArray[np.integer]) -> BagTiles | None:
    """Return where the tiles at some places of a bag are read; None where the bag knows no pixels."""
    if bag.pixels is None or bag.numbers is None:
        return None
    numbers = torch.from_numpy(np.ascontiguousarray(bag.numbers[places], dtype=np.int64))
    return _all(ChosenTiles([(bag.pixels, numbers)]))


def joined(tiles: Sequence[BagTiles | None]) -> BagTiles | None:
    """Return several bags' tiles one after the other; None where one knows none."""
    known = [each for each in tiles if each is not None]
    if not known or len(known) < len(tiles):
        return None
    return _all(ChosenTiles([(each.pool, each.rows) for each in known]))


def _all(pool: TilePool) -> BagTiles:
    return BagTiles(pool=pool, rows=torch.arange(len(pool)))
