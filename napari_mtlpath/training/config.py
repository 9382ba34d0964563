"""What `mtlpath train CONFIG.toml` reads: checked values, and errors that name the key."""

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from napari_mtlpath.tasks import Classification, Regression, Task
from napari_mtlpath.training.augment import Augmentation
from napari_mtlpath.training.loop import Optimisation


class ConfigError(ValueError):
    """A training config cannot be used; the message names the key, what was expected and what was found."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CardTexts(_Table):
    """What a person reads on the card of the trained model."""

    title: str = ""
    summary: str = ""
    made_for: str = ""
    limits: str = ""
    licence: str = "CC-BY-4.0"
    attribution: str = ""


class OptimisationTable(_Table):
    """The ``[optimisation]`` table; see :class:`napari_mtlpath.training.loop.Optimisation`."""

    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup_epochs: float = Field(default=0.0, ge=0)
    clip_norm: float = Field(default=5.0, gt=0)
    average: float = Field(default=0.0, ge=0, lt=1)
    patience: int = Field(default=0, ge=0)
    precision: Literal["float32", "bfloat16"] = "float32"

    def settings(self) -> Optimisation:
        """Return what the loop takes."""
        plain = self.model_dump(exclude={"batch", "precision"})
        return Optimisation(**plain, bfloat16=self.precision == "bfloat16")


class AugmentationTable(_Table):
    """The ``[augmentation]`` table; see :class:`napari_mtlpath.training.augment.Augmentation`."""

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


class CellTiles(_Table):
    """Tiles that are single cells of the archive ``pbc_wbcatt_trainval_96.zip``."""

    source: Literal["cells"]
    archive: str = "pbc_wbcatt_trainval_96.zip"
    leave_out: tuple[str, ...] = ()
    tile_um: float = Field(default=36.0, gt=0)


class StainedTiles(_Table):
    """Tiles of tissue, labelled by stain separation."""

    source: Literal["stains"]
    folder: str = "wsi"
    tiles_per_epoch: int = Field(default=4096, ge=1)
    tile_um: float = Field(default=32.0, gt=0)
    tile_px: int = Field(default=64, ge=16)


class EncoderTable(_Table):
    """Which network becomes the encoder: a family and its options, and where its first weights come from."""

    family: str = "timm"
    options: dict[str, Any] = Field(default_factory=dict)
    start_from: str = ""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)


class TilesConfig(_Table):
    """Training of a tile encoder with one head per task."""

    kind: Literal["tiles"]
    name: str = Field(min_length=1)
    seed: int = 0
    data: Annotated[CellTiles | StainedTiles, Field(discriminator="source")]
    encoder: EncoderTable
    optimisation: OptimisationTable
    augmentation: AugmentationTable = AugmentationTable()
    card: CardTexts = CardTexts()


class SmearBags(_Table):
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


class StainedBags(_Table):
    """Bags of neighbouring tiles of stain-separated sections."""

    source: Literal["stains"]
    folder: str = "wsi"
    bags_per_epoch: int = Field(default=300, ge=2)
    tile_um: float = Field(default=32.0, gt=0)


class TaskTable(_Table):
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


class FeatureBags(_Table):
    """Bags of feature files ``<slide>.h5`` in `folder`, labelled by the columns of the CSV `labels`."""

    source: Literal["features"]
    labels: str
    folder: str
    tile_um: float = Field(gt=0)
    tasks: tuple[TaskTable, ...] = Field(min_length=1)


class AggregatorTable(_Table):
    """Which aggregator learns, its options, and how much the labels of single tiles count, where there are any."""

    name: str = "mecds"
    options: dict[str, Any] = Field(default_factory=dict)
    tile_weight: float = Field(default=0.0, ge=0)


class BagsConfig(_Table):
    """Training of an aggregator on bags of one encoder's features."""

    kind: Literal["bags"]
    name: str = Field(min_length=1)
    seed: int = 0
    encoder: str = Field(min_length=1)
    data: Annotated[SmearBags | StainedBags | FeatureBags, Field(discriminator="source")]
    aggregator: AggregatorTable = AggregatorTable()
    optimisation: OptimisationTable
    card: CardTexts = CardTexts()


TrainConfig = Annotated[TilesConfig | BagsConfig, Field(discriminator="kind")]
"""Any training config."""


def parse_config(tables: dict[str, Any], *, origin: str = "The config") -> TrainConfig:
    """Return the config that `tables` describe.

    Raises
    ------
    ConfigError
        With one sentence per wrong key: its name, what is allowed, what was found.
    """
    try:
        return TypeAdapter(TrainConfig).validate_python(tables)
    except ValidationError as error:
        raise ConfigError(f"{origin} cannot be used: {'; '.join(_sentences(error))}.") from error


def read_config(path: Path) -> TrainConfig:
    """Read a training config from a TOML file; errors as for :func:`parse_config`."""
    if not path.is_file():
        raise FileNotFoundError(f"Expected a training config at {path}; found none. Give the path of a TOML file.")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path.name} is not valid TOML: {error}.") from error
    return parse_config(tables, origin=path.name)


def config_key(config: TrainConfig) -> str:
    """Return a SHA-256 digest of what a config says but for its card's texts; a checkpoint belongs to one."""
    return hashlib.sha256(config.model_dump_json(exclude={"card"}).encode()).hexdigest()


def _sentences(error: ValidationError) -> list[str]:
    sentences = []
    for detail in error.errors():
        key = ".".join(str(part) for part in detail["loc"]) or "config"
        found = "" if detail["type"] in {"missing", "extra_forbidden"} else f", found {detail['input']!r}"
        match detail["type"]:
            case "missing":
                sentences.append(f"{key} is missing")
            case "extra_forbidden":
                sentences.append(f"{key} is not a known key")
            case _:
                sentences.append(f"{key}: {detail['msg'].lower()}{found}")
    return sentences
