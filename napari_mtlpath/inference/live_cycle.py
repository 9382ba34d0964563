"""One run of a live analysis, whatever the model: what the inference thread and the reader threads do."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.desk import LONGEST_WAIT, Desk, ReadTile, Standing
from napari_mtlpath.inference.encode import compute_threads
from napari_mtlpath.inference.freed_memory import keep_freed_memory
from napari_mtlpath.inference.inputs import AnalysedSlide
from napari_mtlpath.inference.live_report import LiveReport, LiveState
from napari_mtlpath.inference.pace import BatchSizer, Throttle, Throughput
from napari_mtlpath.inference.results import SlideResult
from napari_mtlpath.inference.threads import sentence_of
from napari_mtlpath.inference.tile_reader import SILENT_STORAGE_SECONDS, silent_storage
from napari_mtlpath.processors import Processor

SHORTEST_WAIT = 0.001

Judged: TypeAlias = tuple[int, int, object]
"""What a result rests on: known and unreadable tiles, and who judged them."""


class LiveCycle(ABC):
    """From the first tile to completion or failure.

    Parameters
    ----------
    slide
        What is analysed.
    desk
        Where the view, the readers and the model meet.
    device
        Where the model runs.
    emit
        Is given every report, from the inference thread.
    clock
        The time in seconds.

    Attributes
    ----------
    moved
        Set when a new view arrived: the next batch is a quick one.
    explaining
        Whether maps of attention are looked at.
    """

    def __init__(
        self,
        slide: AnalysedSlide,
        desk: Desk,
        *,
        device: Processor,
        emit: Callable[[LiveReport], None],
        clock: Callable[[], float],
    ) -> None:
        self.moved = False
        self.explaining = False
        self._slide = slide
        self._desk = desk
        self._device = device
        self._emit = emit
        self._clock = clock
        self._sizer = BatchSizer(device.type)
        self._throttle = Throttle()
        self._throughput = Throughput()
        self._result: SlideResult | None = None
        self._aggregated: Judged = (0, 0, None)
        self._reported: tuple[Standing, LiveState, SlideResult | None] | None = None
        self._message = ""
        self._storage_silent = False

    @abstractmethod
    def _prepare(self) -> None:
        """Find out what there is to do, and open the desk. Reads a thumbnail."""

    @abstractmethod
    def _start_over(self) -> None:
        """Forget what is known, and open the desk anew."""

    @abstractmethod
    def _read(self, index: int) -> NDArray[np.uint8] | None:
        """Read one tile; None where it is unreadable."""

    @abstractmethod
    def _think(self, tiles: Sequence[ReadTile]) -> int:
        """Let the model work on tiles and keep what it says; return how many it could take at once."""

    @abstractmethod
    def _smaller(self, size: int) -> str:
        """Say that memory holds no more than `size` tiles at once."""

    @abstractmethod
    def _note_unreadable(self, found: NDArray[np.int64]) -> None:
        """Remember tiles that could not be read; may be none."""

    @abstractmethod
    def _heed(self) -> None:
        """Take up whether attention is looked at."""

    @abstractmethod
    def _judge_known(self, standing: Standing, judge: object) -> SlideResult | None:
        """Answer for the tiles known so far; None where that judge cannot."""

    def _judging(self) -> object:
        """Return who judges now: a result of another one is out of date."""
        return None

    def read(self) -> None:
        """Read tiles until the desk is halted: what a reader thread does."""
        while (ticket := self._desk.take()) is not None:
            self._desk.deliver(ticket, self._read(ticket.index))

    def infer(self) -> None:
        """Think, answer and report until the desk is halted: what the inference thread does."""
        if self._device.type == "cpu":
            keep_freed_memory()
        with compute_threads(self._device):
            self._report()
            self._prepare()
            while not self._desk.halted:
                self._heed()
                tiles = self._desk.wait_for_tiles(self._sizer.size, self._patience())
                if self._desk.take_restart():
                    self._result, self._aggregated = None, (0, 0, self._judging())
                    self._start_over()
                self._note_unreadable(self._desk.take_unreadable())
                self._notice_silence()
                if self.moved:
                    self.moved = False
                    if not self._desk.resting():
                        self._sizer.moved()
                if tiles:
                    self._work_on(tiles)
                self._aggregate_when_due()
                self._report_when_due()

    def fail(self, error: Exception) -> None:
        """Say in one sentence why the run ended."""
        already_halted = self._desk.halted
        self._desk.halt()
        if not already_halted:
            self._message = sentence_of(error)
            self._report(failed=True)

    def _work_on(self, tiles: list[ReadTile]) -> None:
        began = self._clock()
        size = self._think(tiles)
        now = self._clock()
        if size < len(tiles):
            self._sizer.limit(size)
            self._message = self._smaller(size)
        self._throughput.add(len(tiles), began=began, now=now)
        self._sizer.encoded(len(tiles), now - began, resting=self._desk.resting())
        self._desk.settle(np.array([tile.index for tile in tiles], dtype=np.int64))

    def _notice_silence(self) -> None:
        silent = self._desk.longest_read() > SILENT_STORAGE_SECONDS
        if silent != self._storage_silent:
            self._storage_silent = silent
            self._message = (
                silent_storage(self._slide) if silent else f"The storage of {self._slide.name} answers again."
            )

    def _aggregate_when_due(self) -> None:
        standing = self._desk.standing()
        judge = self._judging()
        now = (standing.tiles_known, standing.unreadable, judge)
        if standing.tiles_known == 0 or now == self._aggregated:
            return
        if self._throttle.aggregation_in(self._clock()) > 0 and not standing.complete:
            return
        began = self._clock()
        result = self._judge_known(standing, judge)
        if result is not None:
            self._result, self._aggregated = result, now
            self._throttle.aggregated(began, self._clock())

    def _report_when_due(self) -> None:
        standing = self._desk.standing()
        news = (standing, self._state(standing), self._result) != self._reported or self._message
        last_word = standing.complete and self._state(standing) is LiveState.COMPLETE
        if news and (last_word or self._throttle.report_in(self._clock()) <= 0):
            self._report()

    def _report(self, *, failed: bool = False) -> None:
        standing = self._desk.standing()
        state = LiveState.FAILED if failed else self._state(standing)
        now = self._clock()
        report = LiveReport(
            generation=standing.generation,
            result=self._result,
            visible_known=standing.visible_known,
            visible_total=standing.visible_total,
            tiles_known=standing.tiles_known,
            tiles_total=standing.tiles_total,
            unreadable=standing.unreadable,
            tiles_per_second=self._throughput.rate(now),
            queue=standing.queue,
            device=str(self._device),
            state=state,
            message=self._message,
        )
        self._reported = (standing, state, self._result)
        self._message = ""
        self._throttle.reported(now)
        self._emit(report)

    def _state(self, standing: Standing) -> LiveState:
        judged = self._aggregated == (standing.tiles_known, standing.unreadable, self._judging())
        if standing.complete and (judged or standing.tiles_known == 0):
            return LiveState.COMPLETE
        if standing.paused:
            return LiveState.PAUSED
        return LiveState.RUNNING if standing.busy else LiveState.IDLE

    def _patience(self) -> float:
        """How long to wait for tiles: until the next report or aggregation that is owed."""
        now = self._clock()
        standing = self._desk.standing()
        waits = [LONGEST_WAIT]
        if (standing, self._state(standing), self._result) != self._reported:
            waits.append(self._throttle.report_in(now))
        if (
            standing.tiles_known,
            standing.unreadable,
            self._judging(),
        ) != self._aggregated and standing.tiles_known > 0:
            waits.append(self._throttle.aggregation_in(now))
        return max(SHORTEST_WAIT, min(waits))
