"""How a task is taught: the settings that the dock and the command line share."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from napari_mtlpath.balancing.balancer import DEFAULT, names, parse
from napari_mtlpath.training.config.hints import MattersWhen, OneOf
from napari_mtlpath.training.config.reading import checked, read_tables
from napari_mtlpath.training.config.table import Table

ENCODER_BAG = 32
"""Tiles of a composed bag, all of which go through the encoder forth and back where it learns: a second on a CPU."""

ENCODER_TILES = 256
"""Tiles of a slide without a label that are read again where the encoder learns."""

WHEN_SHARED = MattersWhen("mode", "shared")
"""For settings that say how tasks get along: in the isolated mode each learns by itself."""


class TeachConfig(Table):
    """The settings of :func:`napari_mtlpath.training.teaching.teach.teach`, as a form or a TOML table gives them.

    Attributes
    ----------
    mode
        ``isolated``: only the taught tasks' own parameters learn, and every other answer stays the same bit by bit.
        ``shared``: what all tasks use learns too; the other tasks are held by `distillation`, and may move.
    steps
        Most optimisation steps.
    refresh_every
        Steps between two looks at the held-out labels, each a point of the curves and a new preview.
    learning_rate, weight_decay
        Of AdamW; the rate falls to 0 along a cosine.
    batch
        Bags per step and taught task.
    smallest_bag, largest_bag
        Tiles of a composed bag, drawn evenly on a logarithmic scale.
    lowest_rate, highest_rate
        Share of labelled positive tiles in a positive bag, drawn likewise.
    unlabelled_share
        Share of the other tiles of a composed bag that nobody labelled and the task itself calls negative.
    most_tiles
        Most unlabelled tiles of a slide that are used, and most tiles of a slide that a step reads whole.
    instance_weight
        Of the loss on single tiles (their answers, and where the router looks) beside that on bags; 0 leaves it out.
    average
        Decay of the running average of the weights that is judged and kept.
    validation_share
        Share of the labels that nothing learns from; whole slides where there are enough of them.
    patience
        Looks without a better validation loss after which it ends early; 0 never.
    seed
        Of all chance.
    threads
        CPU threads; other numbers may change the last bit of the weights.
    balancer
        How the tasks share what they all use, in the shared mode: ``equal``, ``uncert``, ``pcgrad``, ...
    distillation
        What holds the other tasks in the shared mode: the answers of the model before as a teacher, by the
        Kullback-Leibler divergence (``kl``) or the asymmetric form (``akd``, which lifts positives); or nothing
        (``off``). In the isolated mode nothing needs to be held.
    distillation_weight
        Of that loss beside the task's own.
    encoder_blocks
        How many of the tile encoder's last blocks learn, too, in the shared mode; 0 leaves the encoder as it is.
        Otherwise every task's answers change on every slide: tiles are read from the slides again, at most 256 without
        a label of each, composed bags have at most 32, and the model carries its own encoder.
    encoder_learning_rate
        Of these blocks; it falls as `learning_rate` does.
    """

    mode: Literal["isolated", "shared"] = "isolated"
    steps: int = Field(default=240, ge=1, le=100_000)
    refresh_every: int = Field(default=20, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    batch: int = Field(default=4, ge=1)
    smallest_bag: int = Field(default=16, ge=2)
    largest_bag: int = Field(default=128, ge=2)
    lowest_rate: float = Field(default=0.02, gt=0, le=1)
    highest_rate: float = Field(default=0.5, gt=0, le=1)
    unlabelled_share: float = Field(default=0.5, ge=0, le=1)
    most_tiles: int = Field(default=4096, ge=1)
    instance_weight: float = Field(default=1.0, ge=0)
    average: float = Field(default=0.95, ge=0, lt=1)
    validation_share: float = Field(default=0.25, ge=0, le=0.5)
    patience: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)
    threads: int = Field(default=1, ge=1)
    balancer: Annotated[str, OneOf(names), WHEN_SHARED] = DEFAULT
    distillation: Annotated[Literal["kl", "akd", "off"], WHEN_SHARED] = "kl"
    distillation_weight: Annotated[float, WHEN_SHARED] = Field(default=1.0, ge=0)
    encoder_blocks: Annotated[int, WHEN_SHARED] = Field(default=0, ge=0, le=1000)
    encoder_learning_rate: Annotated[float, WHEN_SHARED] = Field(default=1e-5, gt=0)

    @field_validator("balancer")
    @classmethod
    def _known(cls, method: str) -> str:
        return parse(method, tasks=("a", "b")).name

    @model_validator(mode="after")
    def _ordered(self) -> "TeachConfig":
        if self.smallest_bag > self.largest_bag:
            raise ValueError(f"smallest_bag must not exceed largest_bag = {self.largest_bag}")
        if self.lowest_rate > self.highest_rate:
            raise ValueError(f"lowest_rate must not exceed highest_rate = {self.highest_rate:g}")
        if self.encoder_blocks and self.mode != "shared":
            raise ValueError("encoder_blocks needs mode = 'shared': where the encoder learns, every task changes")
        return self

    @property
    def trains_encoder(self) -> bool:
        """Whether the tile encoder learns."""
        return self.encoder_blocks > 0

    def used(self) -> "TeachConfig":
        """Return the settings as they are used: fewer tiles where all of them go through the encoder again."""
        if not self.trains_encoder:
            return self
        largest = max(self.smallest_bag, min(self.largest_bag, ENCODER_BAG))
        return self.model_copy(update={"largest_bag": largest, "most_tiles": min(self.most_tiles, ENCODER_TILES)})

    @property
    def key(self) -> str:
        """SHA-256 (hex) of all settings."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def parse_teach_config(table: dict[str, Any], *, origin: str = "The settings of teaching") -> TeachConfig:
    """Return the settings that `table` describes; what it leaves out has its default.

    Raises
    ------
    ConfigError
        With one sentence per wrong key: its name, what is allowed, what was found.

    Examples
    --------
    >>> parse_teach_config({"steps": 100}).steps
    100
    """
    return checked(table, TeachConfig, origin=origin)


def read_teach_config(path: Path) -> TeachConfig:
    """Read settings from a TOML file; errors as for :func:`parse_teach_config`."""
    return parse_teach_config(read_tables(path, what="settings of teaching"), origin=path.name)
