"""The `[data]` tables of training configs: which tiles or slides a training learns from."""

from typing import ClassVar, Literal

from pydantic import Field

from napari_mtlpath.tasks import Classification, Regression, Task
from napari_mtlpath.training.config.table import Table


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


class ExternalCohort(Table):
    """Another cohort that the finished model is tried on: its tables and folders; empty ones are the cohort's own."""

    later: ClassVar[frozenset[str]] = frozenset({"slide_files"})

    slides: str
    clinical: str = ""
    features: str = ""
    slide_files: str = ""


class CohortBags(Table):
    """Bags of a cohort: tables as STAMP has them, and a feature file ``<slide>.h5`` (STAMP, CLAM, TRIDENT) per slide.

    Attributes
    ----------
    slides
        Table (CSV, XLSX) with the columns PATIENT and FILENAME; and, where `clinical` is empty, one per task.
    clinical
        Table with the column PATIENT and one per task. An empty cell is an unknown label.
    features
        Folder of the feature files.
    slide_files
        Folder of the slides themselves, named as in the table; only needed where the encoder learns too.
    patient_column, filename_column
        Names of these columns in your tables.
    unknown
        Words that mean an unknown label, as an empty cell does, such as ``["n/a"]``.
    allow_unmatched
        Whether slides without a patient in the clinical table, and patients without a slide, are left out.
    unit
        ``patient``: all slides of a patient form one bag; ``slide``: each slide is a bag with its patient's labels.
    tile_um
        Side of a tile; 0 takes what the feature files say.
    split
        JSON file that says which patients train, select and test; empty makes one by `seed` and keeps it with the run.
    folds
        Number of models, each tested on another part of the patients; 0 for one model.
    test_share
        Share of the patients for the final figures, where there are no folds.
    selection_share
        Share of the other patients that the best epoch is chosen by.
    memory_mb
        Memory for feature files that were read; a cohort may be larger.
    tasks
        What the tables' columns mean; empty infers it from the values.
    external
        Another cohort that every finished model is tried on.
    """

    later: ClassVar[frozenset[str]] = frozenset({"slide_files"})

    source: Literal["cohort"]
    slides: str
    clinical: str = ""
    features: str
    slide_files: str = ""
    patient_column: str = "PATIENT"
    filename_column: str = "FILENAME"
    unknown: tuple[str, ...] = ()
    allow_unmatched: bool = False
    unit: Literal["patient", "slide"] = "patient"
    tile_um: float = Field(default=0.0, ge=0)
    split: str = ""
    folds: int = Field(default=0, ge=0)
    test_share: float = Field(default=0.2, gt=0, lt=1)
    selection_share: float = Field(default=0.2, gt=0, lt=1)
    memory_mb: int = Field(default=2048, ge=1)
    tasks: tuple[TaskTable, ...] = ()
    external: ExternalCohort | None = None
