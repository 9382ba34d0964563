"""Live analysis with a pixel model: the windows in view first, then the rest of the tissue."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.folders import cache_folder
from napari_mtlpath.inference.bag import Bag
from napari_mtlpath.inference.desk import Desk, ReadTile, Standing
from napari_mtlpath.inference.encode import default_readers
from napari_mtlpath.inference.inputs import AnalysedSlide
from napari_mtlpath.inference.live_base import IDLE_SECONDS, TiledAnalysis
from napari_mtlpath.inference.live_cycle import LiveCycle
from napari_mtlpath.inference.live_report import LiveReport
from napari_mtlpath.inference.pixels.answering import answer, planes_for, read_window, short_of_memory
from napari_mtlpath.inference.pixels.inputs import AnsweringModel
from napari_mtlpath.inference.pixels.maps import BUDGET_BYTES, PixelMaps
from napari_mtlpath.inference.pixels.plan import PixelPlan, lattice_for, pixel_plan
from napari_mtlpath.inference.pixels.summing import summed_up
from napari_mtlpath.inference.pixels.window_file import WindowFile
from napari_mtlpath.inference.plan import check_unchanged
from napari_mtlpath.inference.results import SlideResult

WINDOWS_FOLDER = "windows"
"""Below the user's cache folder: what memory does not hold of the slide on screen; deleted with the analysis."""


class PixelAnalysis(TiledAnalysis):
    """Analyses a slide pixel by pixel in the background, where the user looks first.

    Parameters
    ----------
    slide, model
        What is analysed, with what.
    on_report, readers, clock, idle_after
        As in :class:`~napari_mtlpath.inference.live.LiveAnalysis`.
    budget
        Bytes of memory for answers; see :class:`PixelMaps`.

    Raises
    ------
    ValueError
        If the slide's microns per pixel are unknown, or no tile fits.
    """

    def __init__(
        self,
        slide: AnalysedSlide,
        model: AnsweringModel,
        *,
        on_report: Callable[[LiveReport], None],
        readers: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        idle_after: float = IDLE_SECONDS,
        budget: int = BUDGET_BYTES,
    ) -> None:
        self.lattice = lattice_for(slide, model)
        super().__init__(
            slide,
            self.lattice.grid,
            readers=readers or default_readers(model.device),
            on_report=on_report,
            clock=clock,
            idle_after=idle_after,
        )
        self.model = model
        self._budget = budget
        self._pixels: list[PixelCycle] = []
        self._begin()

    def close(self, timeout: float = 5.0) -> bool:
        """End all threads and delete what was kept on disk; return whether they ended in time."""
        ended = super().close(timeout)
        for cycle in self._pixels:
            cycle.forget()
        return ended

    def _new_cycle(self, desk: Desk) -> LiveCycle:
        for former in self._pixels:
            former.forget()
        cycle = PixelCycle(self.slide, self.model, desk, emit=self._emit, clock=self._clock, budget=self._budget)
        self._pixels = [cycle]
        return cycle


class PixelCycle(LiveCycle):
    """From the first window to completion or failure.

    Parameters
    ----------
    slide, model
        What is analysed, with what.
    desk
        Where the view, the readers and the model meet.
    emit
        Is given every report, from the inference thread.
    clock
        The time in seconds.
    budget
        Bytes of memory for answers.
    """

    def __init__(
        self,
        slide: AnalysedSlide,
        model: AnsweringModel,
        desk: Desk,
        *,
        emit: Callable[[LiveReport], None],
        clock: Callable[[], float],
        budget: int,
    ) -> None:
        super().__init__(slide, desk, device=model.device, emit=emit, clock=clock)
        self._model = model
        self._lattice = lattice_for(slide, model)
        self._budget = budget
        self._plan: PixelPlan | None = None
        self._maps: PixelMaps | None = None
        self._forgotten = False
        # Blending, counting and writing go on beside the network, which is at the next batch by then.
        self._adder = ThreadPoolExecutor(1, thread_name_prefix="mtlpath-pixels-adder")
        self._added: Future[None] | None = None

    def forget(self) -> None:
        """Let go of all answers, in memory and on disk."""
        self._forgotten = True
        self._adder.shutdown(wait=True, cancel_futures=True)
        if self._maps is not None:
            self._maps.close()

    def _prepare(self) -> None:
        self._plan = plan = pixel_plan(self._slide, self._model)
        planes = planes_for(self._model)
        folder = cache_folder() / WINDOWS_FOLDER
        file = WindowFile.fleeting(folder, key=plan.key, lattice=plan.lattice, planes=planes)
        self._maps = PixelMaps(plan.lattice, planes, file=file, budget=self._budget)
        if self._forgotten:
            self._maps.close()
        self._open(plan)

    def _start_over(self) -> None:
        self._wait_for_added()
        self._kept().clear()
        self._open(self._planned())

    def _open(self, plan: PixelPlan) -> None:
        self._desk.begin(plan.tissue, Bag(len(plan.lattice.grid), plan.indices))

    def _read(self, index: int) -> NDArray[np.uint8] | None:
        return read_window(self._slide, self._lattice, index)

    def _think(self, tiles: Sequence[ReadTile]) -> int:
        maps = self._kept()
        answered = answer(self._model, maps.planes, [tile.pixels for tile in tiles], size=len(tiles))
        check_unchanged(self._slide)
        self._wait_for_added()
        indices = [tile.index for tile in tiles]
        self._added = self._adder.submit(maps.add, indices, answered.windows, answered.numbers)
        return answered.size

    def _smaller(self, size: int) -> str:
        return short_of_memory(self._model, size)

    def _note_unreadable(self, found: NDArray[np.int64]) -> None:
        """Nothing to remember: such a tile is tried again with the next analysis."""

    def _judge_known(self, standing: Standing, judge: object) -> SlideResult | None:
        self._wait_for_added()
        return summed_up(
            self._model, self._kept(), standing.tiles_total, slide=self._slide, unreadable=standing.unreadable
        )

    def _wait_for_added(self) -> None:
        """Wait until the batch before is in the maps; raises what went wrong with it."""
        added, self._added = self._added, None
        if added is not None:
            added.result()

    def _planned(self) -> PixelPlan:
        assert self._plan is not None  # the inference thread prepares before all else
        return self._plan

    def _kept(self) -> PixelMaps:
        assert self._maps is not None
        return self._maps
