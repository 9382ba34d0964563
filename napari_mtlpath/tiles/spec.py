"""What one tile is: how much glass it shows, how many pixels the encoder gets, and how they are resampled."""

import hashlib
from dataclasses import dataclass

from napari_mtlpath.slides.resampling import Resampling as Resampling  # part of a tile's specification
from napari_mtlpath.units import Microns, TilePixels


@dataclass(frozen=True, kw_only=True)
class TileSpec:
    """The tile that a model was made for.

    Attributes
    ----------
    tile_um
        Side of the square on the glass, in microns.
    tile_px
        Side in pixels that the encoder receives.
    resampling
        How pixels are brought to `tile_px`.

    Examples
    --------
    >>> TileSpec(tile_um=Microns(36.0), tile_px=TilePixels(96)).mpp
    0.375
    """

    tile_um: Microns
    tile_px: TilePixels
    resampling: Resampling = Resampling.SCALED

    def __post_init__(self) -> None:
        if not 1.0 <= self.tile_um <= 5000.0:
            raise ValueError(f"tile_um must lie in 1 to 5000 microns; found {self.tile_um}.")
        if not 8 <= self.tile_px <= 2048:
            raise ValueError(f"tile_px must lie in 8 to 2048 pixels; found {self.tile_px}.")

    @property
    def mpp(self) -> float:
        """Microns per pixel that the encoder sees."""
        return self.tile_um / self.tile_px

    @property
    def key(self) -> str:
        """Short SHA-256 digest of everything that changes the pixels; part of every feature key."""
        text = f"{float(self.tile_um)!r}|{int(self.tile_px)}|{self.resampling.value}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]
