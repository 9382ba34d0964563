"""Random changes of tiles that leave their labels true: turns, flips, size, place and colour."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

TURNS = 8
"""Ways to lay a square down."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far tiles are changed; every value 0 (and `dihedral` false) leaves them as they are.

    Rotation, zoom and shift interpolate, so tiles get smoother than those the network will see later: where texture
    matters, prefer `dihedral`, which moves pixels and changes none.

    Attributes
    ----------
    dihedral
        Whether tiles are laid down in one of the eight ways of a square.
    rotation
        Largest further turn in degrees, either way; 180 means any angle.
    zoom
        Largest change of size, as a share: 0.2 scales by a factor from 1/1.2 to 1.2.
    shift
        Largest move, as a share of the tile's side.
    contrast, brightness, tint
        Largest change of contrast (share), of brightness and of each channel's gain (0 to 1 is the full range).
    """

    dihedral: bool = True
    rotation: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    tint: float = 0.0

    def apply(self, tiles: UInt8[Tensor, "tile y x 3"], generator: torch.Generator) -> UInt8[Tensor, "tile y x 3"]:
        """Return changed copies of the tiles, each by its own draw; what moves in is mirrored from the edge."""
        images = tiles.permute(0, 3, 1, 2).float() / 255
        if self.dihedral:
            images = laid_down(images, torch.randint(TURNS, (len(images),), generator=generator))
        if self.rotation or self.zoom or self.shift:
            grid = functional.affine_grid(
                self._placements(len(tiles), generator), list(images.shape), align_corners=False
            )
            images = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        images = self._recolour(images, generator)
        return (images * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)

    def _placements(self, count: int, generator: torch.Generator) -> Float[Tensor, "tile 2 3"]:
        angle = _spread(count, generator) * math.radians(self.rotation)
        size = torch.exp(_spread(count, generator) * math.log1p(self.zoom))
        cos, sin = angle.cos() / size, angle.sin() / size
        linear = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
        move = torch.stack([_spread(count, generator), _spread(count, generator)], 1) * 2 * self.shift
        return torch.cat([linear, move.unsqueeze(2)], 2)

    def _recolour(self, images: Float[Tensor, "tile 3 y x"], generator: torch.Generator) -> Float[Tensor, "tile 3 y x"]:
        count = len(images)
        contrast = 1 + self.contrast * _spread(count, generator)[:, None, None, None]
        brightness = self.brightness * _spread(count, generator)[:, None, None, None]
        gain = 1 + self.tint * _spread(count * 3, generator).view(count, 3, 1, 1)
        mean = images.mean((2, 3), keepdim=True)
        return ((images - mean) * contrast + mean) * gain + brightness


def laid_down(images: Float[Tensor, "tile 3 y x"], turns: Int[Tensor, " tile"]) -> Float[Tensor, "tile 3 y x"]:
    """Return square images laid down in one of eight ways each: quarter turns, from 4 on mirrored first."""
    laid = torch.empty_like(images)
    for turn in range(TURNS):
        chosen = turns == turn
        laid[chosen] = turned_tiles(images[chosen].permute(0, 2, 3, 1), turn).permute(0, 3, 1, 2)
    return laid


def turned_tiles(tiles: Tensor, turn: int) -> Tensor:
    """Return square tiles [tile, y, x, 3] laid down in way `turn`, 0 to 7: quarter turns, from 4 on mirrored first."""
    return torch.rot90(tiles.flip(2) if turn >= TURNS // 2 else tiles, turn % 4, (1, 2))


def _spread(count: int, generator: torch.Generator) -> Float[Tensor, " draw"]:
    """Draw uniformly from -1 to 1."""
    return torch.rand(count, generator=generator) * 2 - 1
