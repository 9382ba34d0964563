"""The `[data]` tables of training configs: which tiles or slides a training learns from."""

from typing import Literal

from pydantic import Field

from napari_mtlpath.tasks import Classification, Regression, Task
from napari_mtlpath.training.config_table import Table


class CellTiles(Table):
    """Tiles that are single cells of the archive ``pbc_wbcatt_trainval_96.zip``."""

    source: Literal["cells"]
    archive: str = "pbc_wbcatt_trainval_96.zip"
    leave_out: tuple[str, ...] = ()
    tile_um: float = Field(default=36.0, gt=0)


class StainedTiles(Table):
    """Tiles of tissue, labelled by stain separation."""

    source: Literal["stains"]
    folder: str = "wsi"
    tiles_per_epoch: int = Field(default=4096, ge=1)
    tile_um: float = Field(default=32.0, gt=0)
    tile_px: int = Field(default=64, ge=16)


class SmearBags(Table):
    """Bags of simulated smears; witness rates run from the lower to the higher one, both shares over their ranges.

    Training smears are squares of `training_sides` cells, drawn evenly (`rows` x `columns` if that is empty), so that
    a model has seen parts of slides too; selection and test smears have `rows` x `columns` cells.
    """

    source: Literal["smears"]
    archive: str = "pbc_wbcatt_trainval_96.zip"
    rows: int = Field(default=36, ge=1)
    columns: int = Field(default=36, ge=1)
    training_sides: tuple[int, ...] = ()
    slides_per_epoch: int = Field(default=300, ge=2)
    fresh: bool = True
    easy_epochs: int = Field(default=0, ge=0)
    witness_rates: tuple[float, float] = (0.005, 0.1)
    neutrophil_share: tuple[float, float] = (0.15, 0.6)
    vacuolated_share: tuple[float, float] = (0.02, 0.2)
    test_slides: int = Field(default=100, ge=2)
    test_rates: tuple[float, ...] = (0.1, 0.05, 0.02, 0.01, 0.005)


class StainedBags(Table):
    """Bags of neighbouring tiles of stain-separated sections."""

    source: Literal["stains"]
    folder: str = "wsi"
    bags_per_epoch: int = Field(default=300, ge=2)
    tile_um: float = Field(default=32.0, gt=0)


class TaskTable(Table):
    """One task of a table of labels; ``classes`` for a classification, ``low`` and ``high`` for a regression."""

    name: str = Field(min_length=1)
    kind: Literal["classification", "regression"] = "classification"
    classes: tuple[str, ...] = ("absent", "present")
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    title: str = ""
    question: str = ""

    def task(self) -> Task:
        """Return the task."""
        texts = {"name": self.name, "title": self.title, "question": self.question}
        match self.kind:
            case "classification":
                return Classification(classes=self.classes, **texts)
            case "regression":
                return Regression(low=self.low, high=self.high, unit=self.unit, **texts)


class FeatureBags(Table):
    """Bags of feature files ``<slide>.h5`` in `folder`, labelled by the columns of the CSV `labels`."""

    source: Literal["features"]
    labels: str
    folder: str
    tile_um: float = Field(gt=0)
    tasks: tuple[TaskTable, ...] = Field(min_length=1)
