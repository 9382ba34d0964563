"""What is done to every slide of a cohort alike, and the key that says whether a file on disk came from it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mtlpath.encoders.backend import Backend
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import Microns

if TYPE_CHECKING:
    from napari_mtlpath.encoders.tile_encoder import TileEncoder

REVISION = 1
"""Counted up whenever files made earlier must be made anew."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How features are made.

    Attributes
    ----------
    encoder
        Name or absolute folder of the encoder, as :func:`napari_mtlpath.encoders.load.load_encoder` takes it.
    encoder_name
        Its name on its card.
    encoder_digest
        SHA-256 over its weights, architecture, preprocessing and backend: a worker with another one refuses.
    tile
        The tiles that are cut.
    device
        auto, cpu, cuda or mps; decided on the worker.
    threads
        Threads of a worker that compute; the results of another number may differ in the last bit.
    patience
        Seconds without a sign of life after which a slide is given up.
    backend
        What computes the encoder, never ``auto``: all workers compute alike.
    """

    encoder: str
    encoder_name: str
    encoder_digest: str
    tile: TileSpec
    device: str = "auto"
    threads: int = 1
    patience: float = 600.0
    backend: Backend = Backend.TORCH

    def __post_init__(self) -> None:
        if self.threads < 1 or not self.patience > 0:
            raise ValueError(f"Expected threads >= 1 and patience > 0; found {self.threads} and {self.patience}.")

    @property
    def extractor(self) -> str:
        """What feature files say made them: the encoder's name and the beginning of its digest."""
        return f"{self.encoder_name}-{self.encoder_digest[:8]}"

    def key(self, mpp: tuple[float, float] | None) -> str:
        """Return a digest of everything but the slide that changes the numbers: encoder, tiles, given resolution."""
        text = f"{REVISION}|{self.encoder_digest}|{self.tile.key}|{mpp!r}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def recipe_for(
    name: str,
    *,
    tile_um: float | None,
    device: str = "auto",
    threads: int = 1,
    patience: float = 600.0,
    backend: Backend | str = Backend.TORCH,
) -> Recipe:
    """Load an encoder to see that it is there and what it is, and return the recipe for its features.

    Parameters
    ----------
    name
        Name or folder of the encoder.
    tile_um
        Side of a tile in microns; None: as the encoder's card says.
    device, threads, patience
        As in :class:`Recipe`.
    backend
        What computes the encoder; ``auto`` is decided here, for all workers.

    Raises
    ------
    EncoderNotFound, CardError, WeightsError, HubError
        If it cannot be loaded.
    ValueError
        If neither the card nor the caller says how large a tile is, or the backend cannot be had here.

    Examples
    --------
    >>> recipe_for("colour-stats", tile_um=256.0).tile.tile_px
    224
    """
    from napari_mtlpath.encoders.load import find_encoder_card

    card, encoder = find_encoder_card(name), computed_encoder(name, device=device, backend=Backend(backend))
    if tile_um is None and card.tile is None:
        raise ValueError(
            f"Encoder {card.name!r} takes tiles of any magnification: say how large a tile is, such as --tile-um 256."
        )
    tile = card.tile
    if tile_um is not None or tile is None:
        tile = TileSpec(tile_um=Microns(tile_um or 0.0), tile_px=encoder.tile_px)
    return Recipe(
        # A folder is named in full: workers start elsewhere.
        encoder=str(Path(name).absolute()) if Path(name).is_dir() and card.folder == Path(name) else name,
        encoder_name=encoder.name,
        encoder_digest=encoder.digest,
        tile=tile,
        device=device,
        threads=threads,
        patience=patience,
        backend=Backend.TORCH if encoder.backend == Backend.TORCH else Backend.OPENVINO,
    )


def computed_encoder(name: str, *, device: str, backend: Backend) -> "TileEncoder":
    """Load an encoder as a backend computes it on a device; errors as for :func:`recipe_for`."""
    from napari_mtlpath.encoders.computing import encoder_for
    from napari_mtlpath.encoders.load import build_encoder, find_encoder_card
    from napari_mtlpath.zoo.device import pick_device

    card = find_encoder_card(name)
    return encoder_for(backend, card=card, device=pick_device(device).device, build=lambda: build_encoder(card))


@dataclass(frozen=True, kw_only=True)
class SlideJob:
    """What a worker is told about one slide.

    Attributes
    ----------
    slide
        Absolute path; workers on other machines see the same file system.
    target
        Absolute path of the feature file.
    fingerprint
        What the slide's content must be.
    mpp
        Microns per pixel (y, x) given by the user; None: as the file says.
    recipe
        What is done.
    claim
        A file that is there while a worker works on the slide.
    """

    slide: str
    target: str
    fingerprint: str
    mpp: tuple[float, float] | None
    recipe: Recipe
    claim: str

    @property
    def key(self) -> str:
        """Digest of the recipe with this slide's resolution."""
        return self.recipe.key(self.mpp)
