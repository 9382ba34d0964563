"""The ``[augmentation]`` table of a training config."""

from pydantic import Field

from napari_mtlpath.training.config.table import Table
from napari_mtlpath.training.tile_training.augment import Augmentation


class AugmentationTable(Table):
    """The ``[augmentation]`` table; see :class:`napari_mtlpath.training.tile_training.augment.Augmentation`."""

    dihedral: bool = True
    rotation: float = Field(default=0.0, ge=0, le=180)
    zoom: float = Field(default=0.0, ge=0, le=1)
    shift: float = Field(default=0.0, ge=0, le=0.5)
    contrast: float = Field(default=0.0, ge=0, lt=1)
    brightness: float = Field(default=0.0, ge=0, lt=1)
    tint: float = Field(default=0.0, ge=0, lt=1)

    def augmentation(self) -> Augmentation:
        """Return the augmentation."""
        return Augmentation(**self.model_dump())
