"""A slide in memory for tests of pixel models: drawn by a function of the place, readable at any scale."""

import threading
from dataclasses import dataclass, field

import numpy as np
from pixel_fakes import painted


@dataclass
class Read:
    array: np.ndarray
    complete: bool = True


@dataclass
class KnownMpp:
    mpp: tuple[float, float] | None = (0.5, 0.5)


@dataclass
class DrawnSlide:
    """What an analysis needs of a slide; every place is tissue unless `glass` says otherwise."""

    height: int = 500
    width: int = 700
    name: str = "drawn.svs"
    fingerprint: str = "d" * 64
    colour: str = "native"
    resolution: KnownMpp = field(default_factory=KnownMpp)
    paint: object = staticmethod(painted)
    unreadable: tuple = ()
    gate: threading.Event | None = None
    reads: list = field(default_factory=list)

    def tile_shape(self, level):
        return 256, 256

    def changed_on_disk(self):
        return None

    def thumbnail(self, max_side=1024):
        return np.full((max(1, self.height // 8), max(1, self.width // 8), 3), (180, 90, 160), np.uint8)

    def read_square(self, y, x, side, *, tile_px, resampling):
        if self.gate is not None:
            self.gate.wait(30)
        self.reads.append((y, x))
        step = side / tile_px
        rows, columns = (start + (np.arange(tile_px) + 0.5) * step - 0.5 for start in (y, x))
        pixels = self.paint(np.round(rows)[:, None], np.round(columns)[None])
        beyond = (rows < -0.5) | (rows > self.height - 0.5)
        aside = (columns < -0.5) | (columns > self.width - 0.5)
        pixels = np.where((beyond[:, None] | aside[None])[..., None], np.uint8(255), pixels)
        return Read(pixels.astype(np.uint8), complete=(y, x) not in self.unreadable)
