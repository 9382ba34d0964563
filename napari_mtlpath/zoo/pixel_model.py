"""A pixel model that is ready to use: network and card on one device."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray

from napari_mtlpath.encoders.card_file import plain_values
from napari_mtlpath.folders import packaged_models
from napari_mtlpath.nn.pixels.network import PixelNetwork
from napari_mtlpath.tasks import AnyTask, Segmentation
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.weights import state_sha256
from napari_mtlpath.zoo.device import TorchDevice, pick_device
from napari_mtlpath.zoo.pixel_card import PixelCard


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelAnswer:
    """What a pixel model says about some tiles.

    Attributes
    ----------
    pixels
        By pixel task, at the tiles' own resolution: probabilities of all classes, which sum to 1, [tile, class, y, x];
        or values, unclipped, [tile, 1, y, x].
    tiles
        By task of the whole tile: logits, [tile, output], as a slide model's heads give them.
    attention
        By task: its finest attention mask, meant over channels, 0 to 1, at the tiles' own resolution, [tile, y, x].
        Empty for networks without attention.
    """

    pixels: Mapping[str, Float32[NDArray, "tile output y x"]]
    tiles: Mapping[str, Float32[NDArray, "tile output"]]
    attention: Mapping[str, Float32[NDArray, "tile y x"]]


class PixelModel:
    """A network that answers pixel by pixel, frozen and in eval mode. Not thread-safe: one thread owns a model.

    Attributes
    ----------
    card, network
        Its parts.
    device
        Where the network is.
    device_reason
        Why there, in one sentence.
    digest
        SHA-256 (hex) over card and weights: part of every result.
    """

    def __init__(self, *, card: PixelCard, network: PixelNetwork, device: TorchDevice) -> None:
        self.card = card
        self.network = network.eval().requires_grad_(False)
        self.digest = state_sha256({}, description=plain_values(card))
        self._place(device)

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    @property
    def tasks(self) -> tuple[AnyTask, ...]:
        """The tasks in the order of the card."""
        return self.card.tasks

    @property
    def tile(self) -> TileSpec:
        """The tile that the model was made for."""
        return self.card.tile

    @property
    def is_packaged(self) -> bool:
        """Whether the model came with this program; any other is unverified."""
        return self.card.folder is not None and packaged_models().resolve() in self.card.folder.resolve().parents

    def to(self, device: str | torch.device) -> Self:
        """Move the network to a device ("auto", "cpu", "cuda", "mps") and return the model itself."""
        self._place(pick_device(device))
        return self

    def answer(
        self, tiles: UInt8[NDArray, "tile y x 3"], *, wanted: Collection[str] | None = None, attention: bool = True
    ) -> PixelAnswer:
        """Answer about tiles on the model's device.

        Parameters
        ----------
        tiles
            uint8 RGB. The network takes other sizes than ``tile.tile_px``, too (from 32 pixels), at the same microns
            per pixel; answers about whole tiles are then about that larger or smaller area, which it was not made for.
        wanted
            Names of the tasks to answer; None for all.
        attention
            Whether attention masks are wanted, too.

        Returns
        -------
        float32 arrays on the CPU.

        Raises
        ------
        ValueError
            If the tiles are no uint8 RGB, or too small.
        """
        if tiles.dtype != np.uint8 or tiles.ndim != 4 or tiles.shape[3] != 3:
            side = self.tile.tile_px
            raise ValueError(
                f"Model {self.name!r} expects uint8 tiles [tile, {side}, {side}, 3]; "
                f"found {tiles.dtype} {list(tiles.shape)}."
            )
        batch = torch.from_numpy(np.ascontiguousarray(tiles)).to(self.device, non_blocking=True)
        with torch.inference_mode():
            said = self.network(batch, wanted=wanted, explain=attention)
            pixels: dict[str, NDArray] = {}
            whole: dict[str, NDArray] = {}
            for task in (task for task in self.tasks if task.name in said.tasks):
                values = said.tasks[task.name].float()
                if isinstance(task, Segmentation):
                    values = values.softmax(dim=1)
                (whole if values.ndim == 2 else pixels)[task.name] = values.cpu().numpy()
            masks = {name: mask.float().cpu().numpy() for name, mask in said.attention.items()}
        return PixelAnswer(pixels=pixels, tiles=whole, attention=masks)

    def describe(self) -> str:
        """Return a few lines for a person: what it answers, what it was made for, what it runs on."""
        card = self.card
        pixel, whole = (
            "; ".join(task.title or task.name for task in tasks) for tasks in (card.pixel_tasks, card.tile_tasks)
        )
        lines = [
            f"{card.title or card.name} ({card.name}, {self.digest[:12]}): {card.summary}".rstrip(": "),
            *([f"Asked of every pixel: {pixel}"] if pixel else []),
            *([f"Asked of every tile: {whole}"] if whole else []),
            f"Made for: {card.made_for or 'not stated'}",
            f"Masks: {card.masks or 'not stated'}",
            f"Tiles: {card.tile.tile_um:g} um, {card.tile.tile_px} px ({card.tile.mpp:.4g} um/px)",
            f"Network: {card.network}",
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

    def _place(self, device: TorchDevice) -> None:
        # Weights as a convolution over RGB pixels side by side wants them: fewer are put in order anew for each batch.
        self.network.to(device.device).to(memory_format=torch.channels_last)
        self.device = device.device
        self.device_reason = device.reason
