"""Tables of a training config about the tile encoder: what it is, and how it learns with an aggregator."""

from typing import Any, Literal

from pydantic import Field, PositiveInt

from napari_mtlpath.training.config.table import Table


class EncoderTable(Table):
    """Which network becomes the encoder: a family and its options, and where its first weights come from."""

    family: str = "timm"
    options: dict[str, Any] = Field(default_factory=dict)
    start_from: str = ""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)


class EncoderTrainingTable(Table):
    """The ``[encoder_training]`` table; without it the encoder is frozen.

    Attributes
    ----------
    blocks
        How many of the encoder's last blocks learn, with what comes after them; ``all`` for the whole network.
    learning_rate
        Of the encoder at the start; it falls as the aggregator's does.
    tiles
        Tiles of a bag whose gradient reaches the encoder in a step, drawn anew each time; 0 for all.
    others
        What the aggregator sees of a bag's other tiles: their embedding by the ``current`` encoder, without a gradient;
        or that ``before`` the training, which costs nothing and drifts away from the others as the encoder learns.
    piece
        Tiles that pass the encoder at a time: bounds the memory and changes no result but by rounding.
    """

    blocks: PositiveInt | Literal["all"] = 1
    learning_rate: float = Field(default=1e-5, gt=0)
    tiles: int = Field(default=64, ge=0)
    others: Literal["current", "before"] = "current"
    piece: int = Field(default=32, ge=1)
