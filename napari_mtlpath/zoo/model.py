"""A slide model that is ready to use: encoder, aggregator and card on one device."""

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.encoders.card_file import plain_values
from napari_mtlpath.encoders.tile_encoder import TileEncoder
from napari_mtlpath.folders import packaged_models
from napari_mtlpath.hashes import description_sha256
from napari_mtlpath.nn.answers import BagAnswer
from napari_mtlpath.processors import Processor
from napari_mtlpath.tasks import Task
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.device import Device, pick_device
from napari_mtlpath.zoo.openvino_aggregator import OpenvinoAggregator

if TYPE_CHECKING:
    from napari_mtlpath.nn.aggregator import Aggregator


class SlideModel:
    """Encoder and aggregator, frozen and in eval mode. Not thread-safe: one thread owns a model.

    Attributes
    ----------
    card, encoder
        Its parts.
    device
        Where both networks are.
    device_reason
        Why there, in one sentence.
    digest
        SHA-256 (hex) over card, weights and encoder: part of every result.
    refusal
        Why torch answers for the bag although OpenVINO computes the tiles, in sentences; else empty.
    """

    def __init__(
        self,
        *,
        card: ModelCard,
        encoder: TileEncoder,
        aggregator: "Aggregator | OpenvinoAggregator",
        device: Device,
        refusal: str = "",
    ) -> None:
        self.refusal = refusal
        self.card = card
        self.encoder = encoder
        self._answering = aggregator
        if not isinstance(aggregator, OpenvinoAggregator):
            aggregator.eval().requires_grad_(False)
        self.digest = description_sha256({**plain_values(card), "encoder_digest": encoder.digest})
        self._place(device)

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    @property
    def aggregator(self) -> "Aggregator":
        """Torch's aggregator, frozen and in eval mode; where OpenVINO answers, it is built at the first question."""
        answering = self._answering
        return answering.network if isinstance(answering, OpenvinoAggregator) else answering

    @property
    def backend(self) -> str:
        """What computes the model, in words: ``"torch"``, or the encoder's backend and what answers for the bag."""
        if self.encoder.backend == "torch":
            return "torch"
        answering = self._answering
        aggregator = answering.backend if isinstance(answering, OpenvinoAggregator) else "torch"
        return f"{self.encoder.backend}, aggregator through {aggregator}"

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks in the order of the model's outputs."""
        return self.card.tasks

    @property
    def is_packaged(self) -> bool:
        """Whether the model came with this program; any other is unverified."""
        return self.card.folder is not None and packaged_models().resolve() in self.card.folder.resolve().parents

    def to(self, device: str | Processor) -> Self:
        """Move both networks to a device ("auto", "cpu", "cuda", "mps") and return the model itself."""
        self._place(pick_device(device))
        return self

    def answer_bag(self, features: NDArray[np.float32], centres: NDArray[np.float32]) -> BagAnswer:
        """Answer for embeddings [tile, feature] with centres in microns [tile, 2], with all explanations."""
        return self._answering.answer_bag(features, centres)

    def embed(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed tiles on the model's device.

        Parameters
        ----------
        tiles
            uint8 RGB, [tile, y, x, 3].

        Returns
        -------
        float32 features, [tile, feature].
        """
        side = self.encoder.tile_px
        if tiles.dtype != np.uint8 or tiles.shape[1:] != (side, side, 3):
            raise ValueError(
                f"Model {self.name!r} expects uint8 tiles [tile, {side}, {side}, 3]; "
                f"found {tiles.dtype} {list(tiles.shape)}."
            )
        return self.encoder.embed_pixels(tiles)

    def describe(self) -> str:
        """Return a few lines for a person: what it answers, what it was made for, what it runs on."""
        card = self.card
        lines = [
            f"{card.title or card.name} ({card.name}, {self.digest[:12]}): {card.summary}".rstrip(": "),
            f"Tasks: {'; '.join(task.title or task.name for task in self.tasks)}",
            f"Made for: {card.made_for or 'not stated'}",
            f"Tiles: {card.tile.tile_um:g} um, {card.tile.tile_px} px ({card.tile.mpp:.4g} um/px)",
            f"Encoder: {card.encoder} ({self.encoder.features} features); aggregator: {card.aggregator}",
            f"Limits: {card.limits or 'not stated'}",
            f"Licence: {card.licence}. Research use only.",
            *(
                []
                if self.is_packaged
                else [f"Unverified model: it did not come with this program ({self.digest[:12]})."]
            ),
            f"Runs on {self.device_reason}",
            *([self.refusal] if self.refusal else []),
        ]
        return "\n".join(lines)

    def _place(self, device: Device) -> None:
        self.encoder.to(device.device)
        if isinstance(self._answering, OpenvinoAggregator):
            self._answering.to(device.device)
        else:
            self._answering.to(str(device.device))
        self.device = device.device
        other = "" if self.encoder.backend == "torch" else f"; tiles through {self.encoder.backend}"
        self.device_reason = f"{device.reason}{other}"
