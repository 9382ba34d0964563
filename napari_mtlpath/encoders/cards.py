"""The card of a tile encoder: what `encoder.toml` says about it, as a checked value."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict

from napari_mtlpath.encoders.card_file import check_name, pop_table, read_toml, validated, write_toml
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import TilePixels

ENCODER_FILE = "encoder.toml"
ENCODER_WEIGHTS = "encoder.safetensors"
FORMAT = 1
"""Version of the layout of `encoder.toml`."""


@dataclass(frozen=True, kw_only=True)
class EncoderCard:
    """What a tile encoder is, where it comes from and what it was made for.

    Attributes
    ----------
    name
        What users type: the name of its folder.
    family
        Name of a module of ``napari_mtlpath.encoders.families``.
    features
        Length of the embedding, or 0 where only building the encoder tells (one named ``timm:`` or ``hf-hub:``).
    options
        The family's own settings, ``tile_px`` among them.
    licence, attribution
        Of the weights, and of the data that they were trained on.
    title, summary, made_for, limits
        What a person reads.
    tile
        The tile it was made for, or None where it takes any magnification.
    sha256
        SHA-256 of `encoder.safetensors`, or "" where the family brings the weights or needs none.
    weights
        Where weights come from when they are not in the folder, in words.
    metrics
        By set of tiles or by task: value, and under ``<metric>_floor`` that of the trivial answer.
    provenance
        Data, seed, machine, command.
    folder
        Where the card lies, or None for an encoder that has none.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    family: str
    features: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    licence: str
    attribution: str = ""
    title: str = ""
    summary: str = ""
    made_for: str = ""
    limits: str = ""
    tile: TileSpec | None = None
    sha256: str = ""
    weights: str = ""
    metrics: dict[str, dict[str, float | str]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    def __post_init__(self) -> None:
        check_name(self.name, noun="encoder")
        if not self.licence.strip():
            raise ValueError(f"Encoder {self.name!r} states no licence. Name it, for example licence = 'CC-BY-4.0'.")
        if self.features < 0:
            raise ValueError(f"Encoder {self.name!r} needs features >= 0; found {self.features}.")
        tile_px = self.options.get("tile_px")
        if self.tile is not None and tile_px is not None and tile_px != self.tile.tile_px:
            raise ValueError(
                f"Encoder {self.name!r} states tile_px {self.tile.tile_px} in [tile] and {tile_px} in [architecture]. "
                "Make them equal."
            )

    @property
    def tile_px(self) -> TilePixels | None:
        """Side in pixels of its tiles, or None where the family decides."""
        if self.tile is not None:
            return self.tile.tile_px
        stated = self.options.get("tile_px")
        return TilePixels(int(stated)) if stated is not None else None


def read_encoder_card(folder: Path) -> EncoderCard:
    """Read the card of the encoder in `folder`.

    Raises
    ------
    FileNotFoundError
        If there is no `encoder.toml`.
    CardError
        If it cannot be read or a value is missing, unknown or of the wrong kind; the message names it.
    """
    tables = read_toml(folder / ENCODER_FILE, newest=FORMAT)
    architecture = pop_table(tables, "architecture", ENCODER_FILE)
    tables |= {"family": architecture.pop("family", ""), "options": architecture, "folder": folder}
    return validated(EncoderCard, tables, what=f"The card {ENCODER_FILE} of encoder {folder.name!r}")


def encoder_toml(card: EncoderCard) -> str:
    """Return the text of `encoder.toml` for a card."""
    architecture = {"family": card.family, **card.options}
    return write_toml(card, version=FORMAT, architecture=architecture, without=("family", "options"))
