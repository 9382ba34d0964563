"""Configs of kind "pool": pre-training of a tile encoder on many small classification tasks."""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from napari_mtlpath.training.config.augmentation import AugmentationTable
from napari_mtlpath.training.config.balancing import BalancingTable
from napari_mtlpath.training.config.card import CardTexts
from napari_mtlpath.training.config.encoder import EncoderTable
from napari_mtlpath.training.config.optimisation import OptimisationTable
from napari_mtlpath.training.config.table import Table
from napari_mtlpath.training.step.optimisation import Optimisation


class PoolTaskTable(Table):
    """One ``[[pool]]`` table: a task.

    Attributes
    ----------
    name, title, question
        As in :class:`napari_mtlpath.tasks.Classification`.
    source
        Name of a converter: ``folder``, ``table``, or one of a published set, such as ``wbcatt``.
    related
        Tasks of the same word are divided alike and left out together; by default those of one published set.
    options
        The converter's own.
    """

    name: str = Field(pattern=r"^[\w-]+$")
    source: str = Field(min_length=1)
    related: str = ""
    title: str = ""
    question: str = ""
    options: dict[str, Any] = Field(default_factory=dict)


class TileTable(Table):
    """The ``[tile]`` table: what the pictures are brought to, and the side on the glass that it stands for."""

    tile_px: int = Field(default=96, ge=16, le=2048)
    tile_um: float = Field(default=36.0, ge=1, le=5000)


class PartsTable(Table):
    """The ``[parts]`` table: shares of a task's groups for choosing the best epoch, and for the card's figures.

    A set whose publishers set samples aside for testing is tested on these. The parts are drawn by a `seed` of their
    own, so that trainings of several seeds can be compared.
    """

    seed: int = 0
    validation_share: float = Field(default=0.15, gt=0, lt=1)
    test_share: float = Field(default=0.15, gt=0, lt=1)

    @model_validator(mode="after")
    def _leaves_training(self) -> "PartsTable":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share must leave something to learn from")
        return self


class HeadsTable(Table):
    """The ``[heads]`` table: how the tasks' heads learn beside the network that they share.

    Attributes
    ----------
    rate_factor
        Their learning rate is the network's times this (tau of Mormont et al., 2021).
    warmup_steps
        First steps in which the heads learn alone, the network frozen and in evaluation mode.
    warmup_rate
        Their learning rate then.
    """

    rate_factor: float = Field(default=1.0, gt=0)
    warmup_steps: int = Field(default=0, ge=0)
    warmup_rate: float = Field(default=1e-3, gt=0)


class DomainTable(Table):
    """The ``[domain]`` table: batch normalisation of an encoder to start from is moved to the pool's pictures first.

    Attributes
    ----------
    batches
        Batches that statistics are taken over; 0 leaves the normalisation as it is.
    variance
        ``pooled`` over all batches, or the mean of that ``within`` batches, as published.
    """

    batches: int = Field(default=20, ge=0)
    variance: Literal["pooled", "within"] = "pooled"


class PoolOptimisationTable(OptimisationTable):
    """The ``[optimisation]`` table of a pool; an epoch is a number of steps, as images come again and again."""

    batch: int = Field(ge=2)
    steps_per_epoch: int = Field(default=200, ge=1)

    @model_validator(mode="after")
    def _whole_batches(self) -> "PoolOptimisationTable":
        if self.accumulate > 1 or self.precision == "float16":
            raise ValueError(
                "heads are scaled by their share of one whole batch, which needs accumulate = 1 and precision "
                "'float32' or 'bfloat16'"
            )
        return self

    def settings(self) -> Optimisation:
        """Return what the loop takes."""
        given = {name: getattr(self, name) for name in OptimisationTable.model_fields}
        return OptimisationTable(**given).settings()


class PoolConfig(Table):
    """Pre-training of a tile encoder on a pool of classification tasks, one linear head each."""

    later: ClassVar[frozenset[str]] = frozenset()

    kind: Literal["pool"]
    name: str = Field(min_length=1)
    seed: int = 0
    pool: tuple[PoolTaskTable, ...] = Field(min_length=1)
    leave_out: tuple[str, ...] = ()
    tile: TileTable = TileTable()
    parts: PartsTable = PartsTable()
    encoder: EncoderTable
    heads: HeadsTable = HeadsTable()
    domain: DomainTable = DomainTable()
    optimisation: PoolOptimisationTable
    balancing: BalancingTable = BalancingTable()
    augmentation: AugmentationTable = AugmentationTable()
    card: CardTexts = CardTexts()
