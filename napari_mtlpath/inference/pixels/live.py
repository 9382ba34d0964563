"""Live analysis with a pixel model: the windows in view first, then the rest of the tissue."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

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
from napari_mtlpath.inference.pixels.answering import Answered, answer, planes_for, read_window, short_of_memory
from napari_mtlpath.inference.pixels.inputs import AnsweringModel
from napari_mtlpath.inference.pixels.maps import BUDGET_BYTES
from napari_mtlpath.inference.pixels.plan import PixelPlan, lattice_for, pixel_plan
from napari_mtlpath.inference.pixels.planes import Planes
from napari_mtlpath.inference.pixels.shelf import MapsShelf
from napari_mtlpath.inference.pixels.slide_maps import SlideMaps
from napari_mtlpath.inference.pixels.summing import summed_up
from napari_mtlpath.inference.plan import check_unchanged
from napari_mtlpath.inference.results import SlideResult

WINDOWS_FOLDER = "windows"
"""Below the user's cache folder: what memory does not hold of the slide on screen; deleted with the analysis."""


WAITING_SECONDS = 0.25
"""The network waits no more often than this for the answers before it to be blended, so that they can be shown."""


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
    shelf
        Where answers are taken from and put when the analysis ends; None: they are forgotten then.

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
        shelf: MapsShelf | None = None,
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
        self._shelf = shelf
        self._pixels: list[PixelCycle] = []
        self._begin()

    def close(self, timeout: float = 5.0) -> bool:
        """End all threads; put the answers on the shelf, or delete them where there is none.

        Returns
        -------
        Whether the threads ended in time.
        """
        ended = super().close(timeout)
        for cycle in self._pixels:
            if ended:
                cycle.leave()
            else:
                cycle.forget()
        return ended

    def _new_cycle(self, desk: Desk) -> LiveCycle:
        for former in self._pixels:
            former.forget()
        cycle = PixelCycle(
            self.slide,
            self.model,
            desk,
            emit=self._emit,
            clock=self._clock,
            keeping=Keeping(budget=self._budget, shelf=self._shelf),
        )
        self._pixels = [cycle]
        return cycle


@dataclass(frozen=True, kw_only=True, eq=False)
class Keeping:
    """How answers are kept.

    Attributes
    ----------
    budget
        Bytes of memory for them.
    shelf
        Where they are taken from and put at the end, or None.
    """

    budget: int
    shelf: MapsShelf | None = None


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
    keeping
        How answers are kept.
    """

    def __init__(
        self,
        slide: AnalysedSlide,
        model: AnsweringModel,
        desk: Desk,
        *,
        emit: Callable[[LiveReport], None],
        clock: Callable[[], float],
        keeping: Keeping,
    ) -> None:
        super().__init__(slide, desk, device=model.device, emit=emit, clock=clock)
        self._model = model
        self._lattice = lattice_for(slide, model)
        self._keeping = keeping
        self._plan: PixelPlan | None = None
        self._maps: SlideMaps | None = None
        self._explains = False
        self._unreadable: list[int] = []
        self._forgotten = False
        self._summed = float("-inf")
        # Blending, counting and writing go on beside the network, which is at the next batch by then.
        self._adder = ThreadPoolExecutor(1, thread_name_prefix="mtlpath-pixels-adder")
        self._added: Future[None] | None = None

    def leave(self) -> None:
        """Put the answers on the shelf, if there is one and nothing has failed; the threads have ended."""
        self._adder.shutdown(wait=True)
        shelf, added = self._keeping.shelf, self._added
        sound = added is None or added.exception() is None
        if shelf is None or self._plan is None or self._maps is None or self._forgotten or not sound:
            self.forget()
            return
        maps, self._maps = self._maps, None
        shelf.put(self._plan, maps, slide=self._slide.fingerprint)

    def forget(self) -> None:
        """Let go of all answers, in memory and on disk."""
        self._forgotten = True
        self._adder.shutdown(wait=True, cancel_futures=True)
        if self._maps is not None:
            self._maps.close()

    def _prepare(self) -> None:
        self._plan = plan = pixel_plan(self._slide, self._model)
        shelf = self._keeping.shelf
        self._maps = (shelf.take(plan) if shelf is not None else None) or self._new_maps(plan)
        if self._forgotten:
            self._maps.close()
        self._explains = self._to_explain()
        self._open(plan)

    def _new_maps(self, plan: PixelPlan) -> SlideMaps:
        folder, planes = cache_folder() / WINDOWS_FOLDER, planes_for(self._model)
        return SlideMaps.fleeting(
            folder, key=plan.key, lattice=plan.lattice, planes=planes, budget=self._keeping.budget
        )

    def _start_over(self) -> None:
        self._wait_for_added()
        self._kept().clear()
        self._unreadable.clear()
        self._open(self._planned())

    def _open(self, plan: PixelPlan) -> None:
        bag = Bag(len(plan.lattice.grid), plan.indices)
        bag.mark_known(self._kept().known(explained=self._explains))
        bag.mark_unreadable(self._unreadable)
        self._desk.begin(plan.tissue, bag)

    def _heed(self) -> None:
        """Open the desk anew when attention comes to be looked at, or is no longer: other tiles are missing then."""
        if self._to_explain() is not self._explains:
            self._wait_for_added()
            self._explains = not self._explains
            self._open(self._planned())

    def _to_explain(self) -> bool:
        return self.explaining and self._kept().attention is not None

    def _judging(self) -> object:
        return self._explains

    def _read(self, index: int) -> NDArray[np.uint8] | None:
        return read_window(self._slide, self._lattice, index)

    def _think(self, tiles: Sequence[ReadTile]) -> int:
        maps, size, said = self._kept(), len(tiles), []
        for planes, places in maps.questions([tile.index for tile in tiles], explained=self._explains):
            answered = answer(self._model, planes, [tiles[place].pixels for place in places], size=size)
            size = answered.size
            said.append(([tiles[place].index for place in places], planes, answered))
        check_unchanged(self._slide)
        self._wait_for_added()
        self._added = self._adder.submit(_add, maps, said)
        return size

    def _smaller(self, size: int) -> str:
        return short_of_memory(self._model, size)

    def _note_unreadable(self, found: NDArray[np.int64]) -> None:
        self._unreadable += found.tolist()  # not on the shelf: such a tile is tried again with the next analysis

    def _judge_known(self, standing: Standing, judge: object) -> SlideResult | None:
        adding = self._added is not None and not self._added.done()
        if adding and standing.busy and self._clock() - self._summed < WAITING_SECONDS:
            return None
        self._wait_for_added()
        self._summed = self._clock()
        maps = self._kept()
        if standing.complete or not standing.busy:
            maps.finish()
        elif standing.visible_known == standing.visible_total:
            maps.finish(self._desk.in_view().tolist())
        return summed_up(
            self._model,
            maps.answers,
            standing.tiles_total,
            slide=self._slide,
            unreadable=standing.unreadable,
            attention=maps.attention,
        )

    def _wait_for_added(self) -> None:
        """Wait until the batch before is in the maps; raises what went wrong with it."""
        added, self._added = self._added, None
        if added is not None:
            added.result()

    def _planned(self) -> PixelPlan:
        assert self._plan is not None  # the inference thread prepares before all else
        return self._plan

    def _kept(self) -> SlideMaps:
        assert self._maps is not None
        return self._maps


def _add(maps: SlideMaps, said: Sequence[tuple[list[int], Planes, Answered]]) -> None:
    for indices, planes, answered in said:
        maps.add(indices, planes, answered)
