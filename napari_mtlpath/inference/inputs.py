"""What an analysis needs of a slide and of a model, no more: so that it can be tested with either one simulated."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.encoders.tile_encoder import TileEncoder
from napari_mtlpath.nn.answers import BagAnswer
from napari_mtlpath.processors import Processor
from napari_mtlpath.tasks import Task
from napari_mtlpath.tiles.spec import Resampling, TileSpec


@runtime_checkable
class TilePixelsRead(Protocol):
    """Pixels of one tile, and whether all of them could be read."""

    @property
    def array(self) -> NDArray[np.uint8]:
        """RGB, [y, x, 3]."""

    @property
    def complete(self) -> bool:
        """False when a part is unreadable: such a tile is kept from the model."""


@runtime_checkable
class KnownResolution(Protocol):
    """Microns per pixel of a slide, where known."""

    @property
    def mpp(self) -> tuple[float, float] | None:
        """Microns per level-0 pixel, (y, x)."""


@runtime_checkable
class AnalysedSlide(Protocol):
    """The part of :class:`napari_mtlpath.slides.slide.Slide` that an analysis reads."""

    @property
    def name(self) -> str:
        """File name."""

    @property
    def fingerprint(self) -> str:
        """Identity of the file's content."""

    @property
    def height(self) -> int:
        """Height of level 0."""

    @property
    def width(self) -> int:
        """Width of level 0."""

    @property
    def resolution(self) -> KnownResolution:
        """Microns per pixel, where known."""

    @property
    def colour(self) -> str:
        """How colours are treated, ``"native"`` or ``"srgb"``: part of every feature key."""

    def read_square(self, y: float, x: float, side: float, *, tile_px: int, resampling: Resampling) -> TilePixelsRead:
        """Read one model tile."""

    def tile_shape(self, level: int) -> tuple[int, int]:
        """Return the native tile's size of a level."""

    def thumbnail(self, max_side: int) -> NDArray[np.uint8]:
        """Return the whole slide, small."""

    def changed_on_disk(self) -> str | None:
        """Return a sentence when the file is no longer what was opened."""


@runtime_checkable
class EncodingCard(Protocol):
    """What encoding needs to know: whose tiles, and which."""

    @property
    def name(self) -> str:
        """Name of the model, or of the encoder where there is no model."""

    @property
    def tile(self) -> TileSpec:
        """The tile that is cut."""


@runtime_checkable
class AnalysisCard(EncodingCard, Protocol):
    """The part of a model's card that an analysis reads."""

    @property
    def calibration(self) -> Mapping[str, Mapping[str, Any]]:
        """Calibration per task."""

    @property
    def conformal(self) -> Mapping[str, Mapping[str, Any]]:
        """Coverage and thresholds of prediction sets per task."""

    @property
    def slide_labels_only(self) -> bool:
        """Whether the model learned from labels of whole slides alone."""

    @property
    def tile_tasks(self) -> tuple[str, ...]:
        """Tasks that are asked of each tile: what is said of the slide is the mean over its tiles."""

    @property
    def tile_labels(self) -> Mapping[str, int]:
        """How many labelled tiles a task learned from; tasks without any are left out."""


@runtime_checkable
class EncodingModel(Protocol):
    """The part of a model that turns tiles into embeddings; an encoder without a model has it too."""

    @property
    def card(self) -> EncodingCard:
        """Whose tiles, and which."""

    @property
    def encoder(self) -> TileEncoder:
        """Tile -> embedding."""

    @property
    def device(self) -> Processor:
        """Where the weights are."""


@runtime_checkable
class AnalysisModel(EncodingModel, Protocol):
    """The part of :class:`napari_mtlpath.zoo.model.SlideModel` that an analysis uses."""

    @property
    def card(self) -> AnalysisCard:
        """Description of the model."""

    def answer_bag(self, features: NDArray[np.float32], centres: NDArray[np.float32]) -> BagAnswer:
        """Answer for a bag of embeddings [tile, feature] with centres in microns [tile, 2]."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The model's tasks, in order."""

    @property
    def digest(self) -> str:
        """SHA-256 over weights and card."""
