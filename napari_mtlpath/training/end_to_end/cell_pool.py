"""Tiles of simulated smears: real cells in eight ways of lying, as they look after the smear's JPEG coding."""

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from napari_mtlpath.simulation.cells import CellSet
from napari_mtlpath.simulation.smear import TURNS, Smear, turned
from napari_mtlpath.simulation.smear_file import recoded
from napari_mtlpath.training.end_to_end.tiles import BagTiles, TilePool


class CellPool(TilePool):
    """Cells in every way of lying: tile ``8 * cell + turn``.

    Parameters
    ----------
    cells
        All cells.
    chosen
        Those that smears are composed from: cell n of a smear is ``chosen[n]``.
    """

    shared = True

    def __init__(self, cells: CellSet, *, chosen: NDArray[np.int64]) -> None:
        self.cells = cells
        self.chosen = chosen

    def __len__(self) -> int:
        """Return how many tiles there are."""
        return len(self.chosen) * TURNS

    def read(self, rows: Int64[Tensor, " tile"]) -> UInt8[Tensor, "tile y x 3"]:
        """Return cells as tiles of a written smear show them."""
        images = [recoded(turned(self.cells.images[self.chosen[row // TURNS]], row % TURNS)) for row in rows.tolist()]
        return torch.from_numpy(np.stack(images))

    def of(self, smear: Smear) -> BagTiles:
        """Return the tiles of a smear in reading order."""
        rows = smear.cells.reshape(-1) * TURNS + smear.turns.reshape(-1)
        return BagTiles(pool=self, rows=torch.from_numpy(rows.astype(np.int64)))
