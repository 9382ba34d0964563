"""Slides that exist in memory only, and a GUI loop that is driven until something holds."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_mtlpath.slides.cache import TileCache
from napari_mtlpath.slides.pixels import Pixels
from napari_mtlpath.slides.pyramid import LevelInfo
from napari_mtlpath.slides.resolution import Resolution, ResolutionSource


class FakeSlide:
    """A slide painted by a function of the level-0 position, whose tiles come when the test lets them."""

    def __init__(
        self,
        *,
        height: int,
        width: int,
        paint: Callable[[NDArray, NDArray], NDArray],
        levels: int = 5,
        tile: int = 256,
        mpp: float | None = 0.5,
        stored: tuple[int, ...] = (),
        delay: float = 0.0,
        name: str = "fake.svs",
    ) -> None:
        self.name, self.path = name, Path(name)
        self.fingerprint = f"{name}-{id(self)}"
        self.height, self.width = height, width
        self.levels = tuple(
            LevelInfo(
                height=-(-height >> i), width=-(-width >> i), downsample=(2.0**i, 2.0**i), stored=not i or i in stored
            )
            for i in range(levels)
        )
        self._paint = paint
        self._tile = tile
        self.cache = TileCache(max_bytes=256 * 2**20)
        source = ResolutionSource.FILE if mpp else ResolutionSource.UNKNOWN
        self.resolution = Resolution(mpp=(mpp, mpp) if mpp else None, source=source, detail="made by a test")
        self.delay = delay
        self.gate = threading.Event()
        self.gate.set()
        self.loads: list[tuple[int, int, int]] = []
        self.closed = False

    def with_resolution(self, resolution: Resolution) -> None:
        self.resolution = resolution

    def tile_shape(self, level: int) -> tuple[int, int]:
        return (self._tile, self._tile)

    def cached_tile(self, level: int, row: int, column: int) -> NDArray | None:
        return self.cache.get((self.fingerprint, level, row, column))

    def load_tile(self, level: int, row: int, column: int) -> Pixels:
        self.gate.wait(120)
        if self.delay:
            time.sleep(self.delay)
        self.loads.append((level, row, column))
        array = self.tile(level, row, column)
        self.cache.put((self.fingerprint, level, row, column), array)
        return Pixels(array=array)

    def tile(self, level: int, row: int, column: int) -> NDArray:
        info, step = self.levels[level], 2**level
        y = np.arange(row * self._tile, min((row + 1) * self._tile, info.height)) * step
        x = np.arange(column * self._tile, min((column + 1) * self._tile, info.width)) * step
        return np.ascontiguousarray(self._paint(y[:, None], x[None]).astype(np.uint8))

    def pixels(self, level: int) -> NDArray:
        info, step = self.levels[level], 2**level
        y, x = np.arange(info.height) * step, np.arange(info.width) * step
        return self._paint(y[:, None], x[None]).astype(np.uint8)

    def changed_on_disk(self) -> str | None:
        return None

    def close(self) -> None:
        self.closed = True


def gradient(y: NDArray, x: NDArray) -> NDArray:
    """Colours from which the position can be read back; never black."""
    red = 60 + (y // 64) % 180 + 0 * x
    green = 60 + (x // 64) % 180 + 0 * y
    return np.stack([red, green, np.full(red.shape, 128)], axis=-1)


@pytest.fixture
def make_slide() -> Iterator[Callable[..., FakeSlide]]:
    made: list[FakeSlide] = []

    def make(**options: object) -> FakeSlide:
        settings = {"height": 4096, "width": 6144, "paint": gradient} | options
        made.append(FakeSlide(**settings))
        return made[-1]

    yield make
    for slide in made:
        slide.gate.set()


def our_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mtlpath")]


@pytest.fixture
def until(qtbot) -> Callable[..., None]:
    """Run the GUI loop until a condition holds."""

    def wait(condition: Callable[[], bool], timeout: float = 60.0) -> None:
        qtbot.waitUntil(condition, timeout=round(timeout * 1000))

    return wait
