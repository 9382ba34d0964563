"""Which files a user wants of each slide."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Which files are wanted beside predictions.json.

    Attributes
    ----------
    tiles
        tiles.csv.
    heatmaps
        One OME-TIFF per task and kind.
    geojson
        Tiles for QuPath.
    features
        Embeddings as .h5, all slides' in one folder as STAMP wants them.
    masks
        One OME-TIFF per task of pixels; of models that answer pixel by pixel only.
    """

    tiles: bool = True
    heatmaps: bool = True
    geojson: bool = True
    features: bool = True
    masks: bool = True

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the wanted kinds."""
        return tuple(name for name in ("tiles", "heatmaps", "geojson", "features") if getattr(self, name))
