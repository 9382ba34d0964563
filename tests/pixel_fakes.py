"""A pixel model whose answer is known: the class of a pixel is its colour's, and so on; and a slide to match."""

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.ndimage import uniform_filter

from napari_mtlpath.tasks import Classification, PixelRegression, Regression, Segmentation
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import Microns, TilePixels

PARTS = Segmentation(
    name="cell_parts",
    title="Cell parts",
    question="Which part of a cell is each pixel?",
    classes=("background", "cytoplasm", "nucleus"),
)
DARKNESS = PixelRegression(name="darkness", title="Darkness", unit="share", question="How dark is each pixel?")
KIND = Classification(name="has_nucleus", title="Has a nucleus", question="Is there a nucleus in the tile?")
COUNT = Regression(name="dark_share", title="Dark share", unit="share")
TASKS = (PARTS, DARKNESS, KIND, COUNT)

BACKGROUND, CYTOPLASM, NUCLEUS = (240, 240, 240), (200, 120, 190), (90, 40, 130)
"""Colours that the model tells apart by their green."""


@dataclass(frozen=True)
class PixelAnswer:
    """As napari_mtlpath.zoo.pixel_model.PixelAnswer."""

    pixels: dict
    tiles: dict
    attention: dict


@dataclass
class PixelCard:
    """What an analysis, the docks and the exports read of a card."""

    name: str = "colour-parts"
    title: str = "Parts by colour"
    summary: str = "Tells nucleus and cytoplasm apart by their colour."
    made_for: str = "Drawn blood smears"
    licence: str = "CC0-1.0"
    limits: str = "None known."
    attribution: str = ""
    tasks: tuple = TASKS
    tile: TileSpec = field(default_factory=lambda: TileSpec(tile_um=Microns(20.0), tile_px=TilePixels(40)))
    metrics: dict = field(default_factory=dict)
    provenance: dict = field(default_factory=dict)
    calibration: dict = field(default_factory=dict)
    folder: object = None


class ColourModel:
    """Class = colour threshold: 0 where green >= 180, 1 where it is >= 80, else 2, smoothed a little at the edges.

    Parameters
    ----------
    tasks
        Any of :data:`TASKS`.
    frayed
        Pixels at the rim of a tile where the answer is wrong, as that of a network that sees nothing beyond: a box
        filter of this radius which takes what lies outside for 0.
    tile_px
        Side of a tile; half a micron per pixel.
    delay
        Seconds per tile.
    """

    def __init__(self, tasks=TASKS, *, frayed=0, tile_px=40, delay=0.0, name="colour-parts"):
        tile = TileSpec(tile_um=Microns(tile_px / 2), tile_px=TilePixels(tile_px))
        self.card = PixelCard(name=name, tasks=tuple(tasks), tile=tile)
        self.tasks = tuple(tasks)
        self.device = torch.device("cpu")
        self.device_reason = "CPU: a test"
        self.digest = f"{name}-{frayed}-{tile_px}"
        self.is_packaged = True
        self.tiles_answered = 0
        self.asked = []
        self._frayed = frayed
        self._delay = delay

    @property
    def name(self):
        return self.card.name

    @property
    def tile(self):
        return self.card.tile

    def answer(self, tiles, *, wanted=None, attention=True):
        assert tiles.dtype == np.uint8
        assert tiles.shape[1:] == (self.tile.tile_px, self.tile.tile_px, 3)
        time.sleep(self._delay * len(tiles))
        self.tiles_answered += len(tiles)
        self.asked.append((len(tiles), wanted is None or len(wanted) > 0, attention))
        green = tiles[..., 1].astype(np.float32)
        if self._frayed:
            size = (1, 2 * self._frayed + 1, 2 * self._frayed + 1)
            green = uniform_filter(green, size=size, mode="constant")
        darkness = 1 - green / 255
        nucleus = 1 / (1 + np.exp(-(80 - green) / 4))
        glass = 1 / (1 + np.exp(-(green - 180) / 4))
        parts = np.stack([glass, np.maximum(1 - glass - nucleus, 0), nucleus], axis=1)
        known = {task.name for task in self.tasks}
        names = known if wanted is None else known.intersection(wanted)
        pixels = {"cell_parts": parts / parts.sum(axis=1, keepdims=True), "darkness": darkness[:, None]}
        share = darkness.mean(axis=(1, 2))[:, None]
        whole = {"has_nucleus": 40 * (nucleus.mean(axis=(1, 2))[:, None] - 0.05), "dark_share": share}
        return PixelAnswer(
            pixels={name: each.astype(np.float32) for name, each in pixels.items() if name in names},
            tiles={name: each.astype(np.float32) for name, each in whole.items() if name in names},
            attention={"cell_parts": darkness.astype(np.float32)} if attention and "cell_parts" in known else {},
        )


def painted(y, x):
    """Return the colours [..., 3] of the drawn smear at level-0 places: round cells, one every 64 pixels."""
    down, right = (np.asarray(y) % 64) - 31.5, (np.asarray(x) % 64) - 31.5
    far = np.hypot(down, right)
    colours = np.array([BACKGROUND, CYTOPLASM, NUCLEUS], np.uint8)
    return colours[(far < 24).astype(int) + (far < 11).astype(int)]


def true_parts(y, x):
    """Return the class of the drawn smear at level-0 places."""
    far = np.hypot((np.asarray(y) % 64) - 31.5, (np.asarray(x) % 64) - 31.5)
    return (far < 24).astype(int) + (far < 11).astype(int)
