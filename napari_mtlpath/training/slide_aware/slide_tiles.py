"""Tiles of slides that are known to be negative or positive as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Bool
from torch import Tensor

from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.end_to_end.tiles import BagTiles


@dataclass(frozen=True, kw_only=True, eq=False)
class Sides:
    """All tiles of slide-negative slides, and all of slide-positive ones."""

    negative: BagTiles
    positive: BagTiles

    def __post_init__(self) -> None:
        for name, tiles in (("negative", self.negative), ("positive", self.positive)):
            if len(tiles.rows) < 2:
                raise ValueError(
                    f"Expected at least two tiles of slide-{name} slides; found {len(tiles.rows)}. "
                    "Check the labels of the slides."
                )


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedSlide:
    """A slide of which it is known what each tile is; only ever used to judge.

    Attributes
    ----------
    tiles
        Its tiles.
    abnormal
        Which of them are what makes the slide positive.
    """

    tiles: BagTiles
    abnormal: Bool[Tensor, " tile"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SlideTilesData:
    """What pre-training learns from.

    Attributes
    ----------
    train, held_out
        Tiles to learn from, and those of other slides that the best epoch is chosen by.
    spec
        What one tile is.
    facts
        What the card says about the data.
    judged
        Unseen slides with the truth of each tile, where there is one.
    notes
        What a person should know about the data before training starts.
    """

    train: Sides
    held_out: Sides
    spec: TileSpec
    facts: Mapping[str, str | int] = field(default_factory=dict)
    judged: tuple[JudgedSlide, ...] = ()
    notes: tuple[str, ...] = ()
