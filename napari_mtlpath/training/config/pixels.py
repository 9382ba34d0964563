"""The tables of a config that trains a pixel model: tiles with masks, the network, and which tasks it learns."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from napari_mtlpath.tasks import AnyTask, Classification, PixelRegression, Regression, Segmentation
from napari_mtlpath.training.config.balancing import BalancingTable
from napari_mtlpath.training.config.card import CardTexts
from napari_mtlpath.training.config.optimisation import OptimisationTable
from napari_mtlpath.training.config.table import Table
from napari_mtlpath.training.tile_training.augment import Augmentation


class PixelTaskTable(Table):
    """One task of a folder of tiles: of pixels, whose answers lie in masks, or of whole tiles, in `labels.csv`."""

    name: str = Field(min_length=1)
    kind: Literal["segmentation", "pixel_regression", "classification", "regression"] = "segmentation"
    classes: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    title: str = ""
    question: str = ""

    @model_validator(mode="after")
    def _is_a_task(self) -> "PixelTaskTable":
        self.task()
        return self

    def task(self) -> AnyTask:
        """Return the task."""
        texts = {"name": self.name, "title": self.title, "question": self.question}
        match self.kind:
            case "segmentation":
                return Segmentation(classes=self.classes, **texts)
            case "classification":
                return Classification(classes=self.classes, **texts)
            case "pixel_regression":
                return PixelRegression(low=self.low, high=self.high, unit=self.unit, **texts)
            case "regression":
                return Regression(low=self.low, high=self.high, unit=self.unit, **texts)


class CellPixels(Table):
    """Single cells of the archive ``pbc_wbcatt_trainval_96.zip`` with masks derived from their colours.

    Attributes
    ----------
    source, archive
        The archive's name; it is looked for as all data are.
    tile_um
        Side of a tile; nominal.
    tile_tasks
        Which of the cells' labels are asked of the tile.
    fields
        Share of the training tiles, 0 to 1, that are windows of simulated fields of several cells instead of one cell
        in the middle.
    training_cells
        Cells to learn from, drawn by `split_seed`; 0 for all.
    selection_share
        Share of the archive's training cells that the best epoch is chosen by. Its validation cells are the test part.
    split_seed
        Of who is in which part: other than the config's seed, so that networks of several seeds see the same split.
    """

    source: Literal["cells"]
    archive: str = "pbc_wbcatt_trainval_96.zip"
    tile_um: float = Field(default=36.0, gt=0)
    tile_tasks: tuple[str, ...] = ("cell_type",)
    fields: float = Field(default=0.5, ge=0, le=1)
    training_cells: int = Field(default=0, ge=0)
    selection_share: float = Field(default=0.1, gt=0, lt=1)
    split_seed: int = 0


class FolderPixels(Table):
    """A folder of tiles, masks and labels; see docs/segment-tiles.md.

    Attributes
    ----------
    source, folder
        It holds ``tiles/NAME.png``, ``masks/TASK/NAME.png`` (or ``.npy``) and ``labels.csv``.
    tile_um
        Side of a tile.
    tasks
        What the masks and the columns of ``labels.csv`` mean.
    masks
        Where the masks come from, in words: who drew them, or how they were derived. It is on the model's card.
    test_share, selection_share
        Shares of the groups for the figures and for choosing the best epoch, where ``labels.csv`` has no `SPLIT`.
    split_seed
        Of who is in which part then.
    """

    source: Literal["folder"]
    folder: str
    tile_um: float = Field(gt=0)
    tasks: tuple[PixelTaskTable, ...] = Field(min_length=1)
    masks: str = Field(min_length=1)
    test_share: float = Field(default=0.2, gt=0, lt=1)
    selection_share: float = Field(default=0.2, gt=0, lt=1)
    split_seed: int = 0


class NetworkTable(Table):
    """The ``[network]`` table: ``ctan``, ``mtan``, ``hps`` or ``single``, and its options."""

    name: str = "ctan"
    options: dict[str, Any] = Field(default_factory=dict)


class PixelAugmentationTable(Table):
    """The ``[augmentation]`` table of a pixel model: changes that leave masks true.

    Attributes
    ----------
    dihedral
        Whether tiles are laid down in one of the eight ways of a square, their masks alike.
    contrast, brightness, tint
        As for tile encoders.
    """

    dihedral: bool = True
    contrast: float = Field(default=0.0, ge=0, lt=1)
    brightness: float = Field(default=0.0, ge=0, lt=1)
    tint: float = Field(default=0.0, ge=0, lt=1)

    def colours(self) -> Augmentation:
        """Return the changes of colour alone."""
        return Augmentation(dihedral=False, contrast=self.contrast, brightness=self.brightness, tint=self.tint)


class PixelsConfig(Table):
    """Training of a network that answers about pixels and tiles together.

    Attributes
    ----------
    tasks
        Names of the data's tasks that are learned; empty for all.
    """

    kind: Literal["pixels"]
    name: str = Field(min_length=1)
    seed: int = 0
    tasks: tuple[str, ...] = ()
    data: Annotated[CellPixels | FolderPixels, Field(discriminator="source")]
    network: NetworkTable = NetworkTable()
    optimisation: OptimisationTable
    balancing: BalancingTable = BalancingTable()
    augmentation: PixelAugmentationTable = PixelAugmentationTable()
    card: CardTexts = CardTexts()
