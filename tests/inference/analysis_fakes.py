"""A slide and a model small enough to reason about: every tile has one colour, every embedding is that colour."""

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.nn.answers import BagAnswer
from napari_mtlpath.nn.outputs import BagOutput, TaskOutput
from napari_mtlpath.tasks import Classification, Regression, Task
from napari_mtlpath.tiles.spec import Resampling, TileSpec
from napari_mtlpath.units import Microns, TilePixels

SIDE = 32


@dataclass
class FakePixels:
    array: np.ndarray
    complete: bool = True


@dataclass
class FakeResolution:
    mpp: tuple[float, float] | None = (0.5, 0.5)


@dataclass
class FakeSlide:
    """Tile (row, column) of `SIDE` pixels has the colour (row, column, hue); everything is tissue by default."""

    rows: int = 8
    columns: int = 10
    hue: int = 7
    delay: float = 0.0
    unreadable: frozenset[tuple[int, int]] = frozenset()
    glass: Callable[[int, int], bool] = lambda row, column: False
    resolution: FakeResolution = field(default_factory=FakeResolution)
    changed: str | None = None
    gate: threading.Event | None = None
    colour: str = "native"
    reads: list[tuple[int, int]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        return f"fake-{self.hue}.svs"

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.rows}x{self.columns}x{self.hue}".encode()).hexdigest()

    @property
    def height(self) -> int:
        return self.rows * SIDE

    @property
    def width(self) -> int:
        return self.columns * SIDE

    def tile_shape(self, level: int) -> tuple[int, int]:
        return SIDE, SIDE

    def thumbnail(self, max_side: int = 1024) -> np.ndarray:
        small = np.full((self.rows * 4, self.columns * 4, 3), 250, dtype=np.uint8)
        for row in range(self.rows):
            for column in range(self.columns):
                if not self.glass(row, column):
                    small[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = (180, 90, 160)
        return small

    def changed_on_disk(self) -> str | None:
        return self.changed

    def read_square(self, y: int, x: int, side: int, *, tile_px: int, resampling: Resampling) -> FakePixels:
        place = (y // SIDE, x // SIDE)
        with self._lock:
            self.reads.append(place)
        if self.gate is not None:
            self.gate.wait(20)
        if self.delay:
            time.sleep(self.delay)
        colour = np.array([place[0], place[1], self.hue], dtype=np.uint8)
        return FakePixels(np.broadcast_to(colour, (tile_px, tile_px, 3)).copy(), complete=place not in self.unreadable)


class MeanColour(Encoder):
    """Embedding = mean colour; counts its batches."""

    def __init__(self) -> None:
        self.name = "mean-colour"
        self.features = 3
        self.tile_px = TilePixels(16)
        self.digest = "0" * 64
        self.module = nn.Identity()
        self.batches: list[int] = []
        self.before: Callable[[torch.Tensor], None] = lambda tiles: None

    def embed(self, tiles: torch.Tensor) -> torch.Tensor:
        self.before(tiles)
        self.batches.append(len(tiles))
        return tiles.float().mean(dim=(1, 2))


class FirstChannel(Aggregator):
    """Routes by the first colour channel; answers with means over the bag."""

    def __init__(self, tasks: tuple[Task, ...]) -> None:
        super().__init__()
        self.tasks = tasks
        self.bags: list[int] = []
        self.before: Callable[[torch.Tensor], None] = lambda bag: None

    @classmethod
    def build(cls, *, tasks: Any, features: int, options: Mapping[str, Any]) -> "FirstChannel":
        return cls(tuple(tasks))

    def forward(
        self, bag: torch.Tensor, coordinates: torch.Tensor | None = None, *, explain: bool = False
    ) -> BagOutput:
        self.before(bag)
        self.bags.append(len(bag))
        routing = torch.softmax(bag[:, 0] / 8, dim=0)
        answers = {}
        for position, task in enumerate(self.tasks):
            tile_logits = (bag[:, :1] - 3.0) * (position + 1)
            answers[task.name] = TaskOutput(
                logits=tile_logits.mean(dim=0).expand(task.outputs).clone(),
                embedding=bag.mean(dim=0),
                routing=routing,
                selected=routing >= routing.median(),
                attention=routing,
                tile_logits=tile_logits.expand(-1, task.outputs).clone(),
            )
        return BagOutput(tasks=answers)

    def options(self) -> dict[str, Any]:
        return {}

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        return []


@dataclass
class FakeCard:
    name: str = "fake"
    tile: TileSpec = field(default_factory=lambda: TileSpec(tile_um=Microns(16.0), tile_px=TilePixels(16)))
    calibration: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    conformal: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    slide_labels_only: bool = False
    tile_labels: Mapping[str, int] = field(default_factory=dict)
    tile_tasks: tuple[str, ...] = ()


class FakeModel:
    """Two tasks over mean colours."""

    def __init__(self, calibration: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.card = FakeCard(calibration=calibration or {})
        self.encoder = MeanColour()
        self.tasks: tuple[Task, ...] = (Classification(name="witness"), Regression(name="share"))
        self.aggregator = FirstChannel(self.tasks)
        self.digest = "1" * 64
        self.device = torch.device("cpu")

    def answer_bag(self, features: np.ndarray, centres: np.ndarray) -> BagAnswer:
        return self.aggregator.answer_bag(features, centres)


class FakeClock:
    """Time that passes when told to; `running`: by itself too."""

    def __init__(self, *, running: bool = False) -> None:
        self._now = 0.0
        self._running = running

    def __call__(self) -> float:
        return self._now + (time.monotonic() if self._running else 0.0)

    def advance(self, seconds: float) -> None:
        self._now += seconds
