"""A slide model that is ready to use: encoder, aggregator and card on one device."""

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mtlpath.encoders.card_file import plain_values
from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.folders import packaged_models
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.tasks import Task
from napari_mtlpath.weights import state_sha256
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.device import Device, pick_device


class SlideModel:
    """Encoder and aggregator, frozen and in eval mode. Not thread-safe: one thread owns a model.

    Attributes
    ----------
    card, encoder, aggregator
        Its parts.
    device
        Where both networks are.
    device_reason
        Why there, in one sentence.
    digest
        SHA-256 (hex) over card, weights and encoder: part of every result.
    """

    def __init__(self, *, card: ModelCard, encoder: Encoder, aggregator: Aggregator, device: Device) -> None:
        self.card = card
        self.encoder = encoder
        self.aggregator = aggregator.eval().requires_grad_(False)
        self.digest = state_sha256({}, description={**plain_values(card), "encoder_digest": encoder.digest})
        self._place(device)

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks in the order of the model's outputs."""
        return self.card.tasks

    @property
    def is_packaged(self) -> bool:
        """Whether the model came with this program; any other is unverified."""
        return self.card.folder is not None and packaged_models().resolve() in self.card.folder.resolve().parents

    def to(self, device: str | torch.device) -> Self:
        """Move both networks to a device ("auto", "cpu", "cuda", "mps") and return the model itself."""
        self._place(pick_device(device))
        return self

    def embed(self, tiles: NDArray[np.uint8] | Tensor) -> Tensor:
        """Embed tiles on the model's device.

        Parameters
        ----------
        tiles
            uint8 RGB, [tile, y, x, 3].

        Returns
        -------
        float32 features on the CPU, [tile, feature].
        """
        batch = torch.from_numpy(np.ascontiguousarray(tiles)) if isinstance(tiles, np.ndarray) else tiles
        side = self.encoder.tile_px
        if batch.dtype != torch.uint8 or tuple(batch.shape[1:]) != (side, side, 3):
            raise ValueError(
                f"Model {self.name!r} expects uint8 tiles [tile, {side}, {side}, 3]; "
                f"found {batch.dtype} {list(batch.shape)}."
            )
        with torch.inference_mode():
            return self.encoder.embed(batch.to(self.device, non_blocking=True)).float().cpu()

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
        ]
        return "\n".join(lines)

    def _place(self, device: Device) -> None:
        self.encoder.to(device.device)
        self.aggregator.to(device.device)
        self.device = device.device
        other = "" if self.encoder.backend == "torch" else f"; tiles through {self.encoder.backend}"
        self.device_reason = f"{device.reason}{other}"
