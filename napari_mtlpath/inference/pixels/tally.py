"""What is counted of the pixels and tiles analysed so far; sums that do not depend on the order of the tiles."""

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.pixels.lattice import Lattice
from napari_mtlpath.inference.pixels.planes import FULL, Planes
from napari_mtlpath.tasks import PixelRegression


class Tally:
    """Counts per core. A core that is counted again replaces its own counts.

    Whole numbers are added up, so the viewer and the command line, which see the tiles in another order, agree to the
    last digit.

    Parameters
    ----------
    lattice, planes
        Where the cores are, and what is counted.
    """

    def __init__(self, lattice: Lattice, planes: Planes) -> None:
        self._lattice = lattice
        self._planes = planes
        tiles = len(lattice.grid)
        self._pixels = np.zeros(tiles, dtype=np.int64)
        self._classes = {task.name: np.zeros((tiles, task.outputs), dtype=np.int32) for task in planes.segmentations}
        self._sums = {
            task.name: np.zeros(tiles, dtype=np.int64)
            for task in planes.pixel_tasks
            if isinstance(task, PixelRegression)
        }
        self._numbers = np.full((tiles, planes.outputs), np.nan, dtype=np.float32)

    def count(self, index: int, core: NDArray[np.uint8]) -> None:
        """Count the pixels of a blended core [plane, y, x], with class numbers, that lie on the slide."""
        height, width = self._lattice.inside(index)
        inside = core[:, :height, :width]
        self._pixels[index] = height * width
        for task in self._planes.segmentations:
            labels = inside[self._planes.labels(task.name)]
            self._classes[task.name][index] = [np.count_nonzero(labels == number) for number in range(task.outputs)]
        for name, sums in self._sums.items():
            sums[index] = int(inside[self._planes.first(name)].sum(dtype=np.int64))

    def note(self, index: int, numbers: NDArray[np.float32]) -> None:
        """Note what the tile tasks say about a tile."""
        self._numbers[index] = numbers

    @property
    def pixels(self) -> int:
        """Pixels counted."""
        return int(self._pixels.sum())

    @property
    def area_mm2(self) -> float:
        """Area of the pixels counted, in square millimetres."""
        return self.pixels * self._lattice.pixel_mm2

    def classes(self, task: str) -> NDArray[np.int64]:
        """Return how many pixels each class of a segmentation has, [class]."""
        return self._classes[task].sum(axis=0, dtype=np.int64)

    def mean(self, task: str) -> float | None:
        """Return the mean of a pixel regression over the pixels counted, in the task's unit; None without any."""
        described = next(each for each in self._planes.pixel_tasks if each.name == task)
        if not isinstance(described, PixelRegression) or self.pixels == 0:
            return None
        share = int(self._sums[task].sum()) / (FULL * self.pixels)
        return described.low + share * (described.high - described.low)

    def shares(self, task: str) -> NDArray[np.float64]:
        """Return each class' share of every core, [tile, class]; NaN where nothing is counted."""
        with np.errstate(invalid="ignore"):
            return self._classes[task] / np.where(self._pixels > 0, self._pixels, np.nan)[:, None]

    def means(self, task: str) -> NDArray[np.float64]:
        """Return a pixel regression's mean in every core, [tile], in its unit; NaN where nothing is counted."""
        described = next(each for each in self._planes.pixel_tasks if each.name == task)
        if not isinstance(described, PixelRegression):
            raise KeyError(f"Task {task!r} is no pixel regression.")
        shares = self._sums[task] / (FULL * np.where(self._pixels > 0, self._pixels, np.nan))
        return described.low + shares * (described.high - described.low)

    def numbers(self, task: str) -> NDArray[np.float32]:
        """Return what a tile task says about every tile, [tile, output]; NaN where unknown."""
        return self._numbers[:, self._planes.outputs_of(task)]
