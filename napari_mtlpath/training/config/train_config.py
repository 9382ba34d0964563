"""What `mtlpath train CONFIG.toml` reads: checked values, and errors that name the key."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from napari_mtlpath.training.config.augmentation import AugmentationTable
from napari_mtlpath.training.config.balancing import BalancingTable
from napari_mtlpath.training.config.card import CardTexts
from napari_mtlpath.training.config.data import CellTiles, CohortBags, SmearBags, StainedBags, StainedTiles
from napari_mtlpath.training.config.encoder import EncoderTable, EncoderTrainingTable
from napari_mtlpath.training.config.optimisation import OptimisationTable
from napari_mtlpath.training.config.pixels import PixelsConfig
from napari_mtlpath.training.config.pool import PoolConfig
from napari_mtlpath.training.config.reading import checked, read_tables
from napari_mtlpath.training.config.slide_aware import SlideAwareConfig
from napari_mtlpath.training.config.systems import DistillationTable, LossesTable, SamplingTable
from napari_mtlpath.training.config.table import Table


class TilesConfig(Table):
    """Training of a tile encoder with one head per task."""

    later: ClassVar[frozenset[str]] = frozenset({"balancing"})

    kind: Literal["tiles"]
    name: str = Field(min_length=1)
    seed: int = 0
    data: Annotated[CellTiles | StainedTiles, Field(discriminator="source")]
    encoder: EncoderTable
    optimisation: OptimisationTable
    balancing: BalancingTable = BalancingTable()
    augmentation: AugmentationTable = AugmentationTable()
    card: CardTexts = CardTexts()


class AggregatorTable(Table):
    """Which aggregator learns, its options, and how much the labels of single tiles count, where there are any."""

    name: str = "mecds"
    options: dict[str, Any] = Field(default_factory=dict)
    tile_weight: float = Field(default=0.0, ge=0)


class BagsConfig(Table):
    """Training of an aggregator on bags of one encoder's features, and of that encoder if a table says so."""

    later: ClassVar[frozenset[str]] = frozenset({"balancing", "losses", "sampling", "distillation", "encoder_training"})

    kind: Literal["bags"]
    name: str = Field(min_length=1)
    seed: int = 0
    encoder: str = Field(min_length=1)
    encoder_training: EncoderTrainingTable | None = None
    data: Annotated[SmearBags | StainedBags | CohortBags, Field(discriminator="source")]
    aggregator: AggregatorTable = AggregatorTable()
    optimisation: OptimisationTable
    balancing: BalancingTable = BalancingTable()
    losses: LossesTable = LossesTable()
    sampling: SamplingTable = SamplingTable()
    distillation: DistillationTable | None = None
    card: CardTexts = CardTexts()


TrainConfig = Annotated[
    TilesConfig | BagsConfig | PoolConfig | SlideAwareConfig | PixelsConfig, Field(discriminator="kind")
]
"""Any training config."""


def parse_config(tables: dict[str, Any], *, origin: str = "The config") -> TrainConfig:
    """Return the config that `tables` describe.

    Raises
    ------
    ConfigError
        With one sentence per wrong key: its name, what is allowed, what was found.
    """
    return checked(tables, TrainConfig, origin=origin)


def read_config(path: Path) -> TrainConfig:
    """Read a training config from a TOML file; errors as for :func:`parse_config`."""
    return parse_config(read_tables(path, what="a training config"), origin=path.name)


def config_key(config: TrainConfig) -> str:
    """Return a SHA-256 digest of what a config says but for its card's texts; a checkpoint belongs to one."""
    return hashlib.sha256(config.model_dump_json(exclude={"card"}).encode()).hexdigest()
