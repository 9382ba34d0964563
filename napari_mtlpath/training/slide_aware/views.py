"""Two views of a tile: cut out in the middle as it is, or anywhere and changed at random."""

from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor

from napari_mtlpath.training.config.slide_aware import ViewsTable
from napari_mtlpath.training.tile_training.augment import Augmentation


@dataclass(frozen=True, kw_only=True)
class Views:
    """How views are cut out of tiles; their scale stays, so that the network sees cells as large as later.

    Attributes
    ----------
    side
        Side of a view in pixels, at most that of the tiles.
    augmentation
        How random views are changed further.
    """

    side: int
    augmentation: Augmentation

    def middle(self, tiles: UInt8[Tensor, "tile y x 3"]) -> UInt8[Tensor, "tile side side 3"]:
        """Return the middle of each tile, unchanged."""
        top, left = ((length - self.side) // 2 for length in tiles.shape[1:3])
        return tiles[:, top : top + self.side, left : left + self.side]

    def random(
        self, tiles: UInt8[Tensor, "tile y x 3"], generator: torch.Generator
    ) -> UInt8[Tensor, "tile side side 3"]:
        """Return a random part of each tile, changed at random."""
        rooms = [length - self.side + 1 for length in tiles.shape[1:3]]
        tops, lefts = (torch.randint(room, (len(tiles),), generator=generator).tolist() for room in rooms)
        side = self.side
        cut = [tile[y : y + side, x : x + side] for tile, y, x in zip(tiles, tops, lefts, strict=True)]
        return self.augmentation.apply(torch.stack(cut), generator)


def views_of(table: ViewsTable, *, tile_px: int) -> Views:
    """Return the views that a config describes, of tiles of a size."""
    return Views(side=view_side(tile_px, table.crop), augmentation=table.augmentation())


def view_side(tile_px: int, share: float) -> int:
    """Return the side of a view that shows `share` of a tile's side, in whole pixels of the tile's parity.

    Examples
    --------
    >>> view_side(96, 0.875)
    84
    """
    side = max(1, round(tile_px * share))
    return side if (tile_px - side) % 2 == 0 or side == tile_px else side + 1
