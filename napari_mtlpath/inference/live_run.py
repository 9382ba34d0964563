"""One run of a live analysis: what the inference thread and the reader threads do."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.features.database import FeatureStoreError
from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.inference.aggregate import aggregate
from napari_mtlpath.inference.bag import Bag
from napari_mtlpath.inference.desk import LONGEST_WAIT, Desk, ReadTile, Standing
from napari_mtlpath.inference.encode import compute_threads, encode_within_memory, short_of_memory
from napari_mtlpath.inference.inputs import AnalysedSlide, AnalysisModel
from napari_mtlpath.inference.live_report import LiveReport, LiveState
from napari_mtlpath.inference.pace import BatchSizer, Throttle, Throughput
from napari_mtlpath.inference.plan import AnalysisPlan, check_unchanged, grid_for, plan_for
from napari_mtlpath.inference.results import SlideResult
from napari_mtlpath.inference.threads import sentence_of
from napari_mtlpath.inference.tile_reader import SILENT_STORAGE_SECONDS, read_tile, silent_storage

RESTING_SECONDS = 0.5  # a view that did not change for so long may get larger batches
SHORTEST_WAIT = 0.001

Judged: TypeAlias = tuple[int, int, AnalysisModel]
"""What a result rests on: known and unreadable tiles, and who judged them."""


class LiveRun:
    """From the first tile to completion or failure.

    Parameters
    ----------
    slide, model
        What is analysed, with what.
    desk
        Where the view, the readers and the encoder meet.
    store
        Where embeddings are kept.
    emit
        Is given every report, from the inference thread.
    clock
        The time in seconds.
    judge
        A model of the same encoder that judges the tiles in place of `model`; None: `model` itself.

    Attributes
    ----------
    moved
        Set when a new view arrived: the next batch is a quick one.
    """

    def __init__(
        self,
        slide: AnalysedSlide,
        model: AnalysisModel,
        desk: Desk,
        *,
        store: FeatureStore,
        emit: Callable[[LiveReport], None],
        clock: Callable[[], float],
        judge: AnalysisModel | None = None,
    ) -> None:
        self.moved = False
        self._slide = slide
        self._model = model
        self._judge = judge or model
        self._desk = desk
        self._store = store
        self._emit = emit
        self._clock = clock
        self._grid = grid_for(slide, model)
        self._plan: AnalysisPlan | None = None
        self._bag = Bag(0, np.empty(0, dtype=np.int64))
        self._sizer = BatchSizer(model.device.type)
        self._throttle = Throttle()
        self._throughput = Throughput()
        self._result: SlideResult | None = None
        self._aggregated: Judged = (0, 0, self._judge)
        self._reported: tuple[Standing, LiveState, SlideResult | None] | None = None
        self._message = ""
        self._storage_silent = False
        self._store_works = True

    def preview(self, judge: AnalysisModel | None) -> None:
        """Let another model of the same encoder judge the tiles in the bag from now on; None: the model itself."""
        self._judge = judge or self._model
        self._desk.wake()

    def read(self) -> None:
        """Read tiles until the desk is halted: what a reader thread does."""
        while (ticket := self._desk.take()) is not None:
            self._desk.deliver(ticket, read_tile(self._slide, self._grid, ticket.index))

    def infer(self) -> None:
        """Encode, aggregate and report until the desk is halted: what the inference thread does."""
        with compute_threads(self._model.device):
            self._report()
            self._plan = plan_for(self._slide, self._model)
            self._open(self._plan)
            while not self._desk.halted:
                tiles = self._desk.wait_for_tiles(self._sizer.size, self._patience())
                if self._desk.take_restart():
                    self._start_over(self._plan)
                self._note_unreadable(self._plan)
                self._notice_silence()
                if self.moved:
                    self.moved = False
                    self._sizer.moved()
                if tiles:
                    self._encode(tiles, self._plan)
                self._aggregate_when_due()
                self._report_when_due()

    def fail(self, error: Exception) -> None:
        """Say in one sentence why the run ended."""
        already_halted = self._desk.halted
        self._desk.halt()
        if not already_halted:
            self._message = sentence_of(error)
            self._report(failed=True)

    def _open(self, plan: AnalysisPlan) -> None:
        self._bag = Bag(len(plan.grid), plan.indices)
        try:
            indices, features = self._store.get(plan.key)
        except FeatureStoreError as error:
            self._lose_store(error)
        else:
            fitting = features.shape[1] == self._model.encoder.features
            if fitting:
                self._bag.write(indices, features)
                self._bag.mark_known(indices)
        self._desk.begin(plan.tissue, self._bag)

    def _start_over(self, plan: AnalysisPlan) -> None:
        try:
            self._store.forget(plan.key)
        except FeatureStoreError as error:
            self._lose_store(error)
        self._result, self._aggregated = None, (0, 0, self._judge)
        self._bag = Bag(len(plan.grid), plan.indices)
        self._desk.begin(plan.tissue, self._bag)

    def _encode(self, tiles: list[ReadTile], plan: AnalysisPlan) -> None:
        began = self._clock()
        embedded = encode_within_memory(self._model, [tile.pixels for tile in tiles], size=len(tiles))
        now = self._clock()
        if embedded.size < len(tiles):
            self._sizer.limit(embedded.size)
            self._message = short_of_memory(self._model, embedded.size)
        self._throughput.add(len(tiles), began=began, now=now)
        self._sizer.encoded(len(tiles), now - began, resting=self._desk.resting(RESTING_SECONDS))
        self._keep(np.array([tile.index for tile in tiles], dtype=np.int64), embedded.features, plan)

    def _keep(self, indices: NDArray[np.int64], features: NDArray[np.float32], plan: AnalysisPlan) -> None:
        check_unchanged(self._slide)
        if self._store_works:
            try:
                self._store.put(plan.key, indices, features)
            except FeatureStoreError as error:
                self._lose_store(error)
        self._bag.write(indices, features)
        self._desk.settle(indices)

    def _lose_store(self, error: FeatureStoreError) -> None:
        self._store_works = False
        self._message = f"{error} The analysis goes on; its embeddings are not kept."

    def _note_unreadable(self, plan: AnalysisPlan) -> None:
        found = self._desk.take_unreadable()
        if len(found) > 0 and self._store_works:
            try:
                self._store.mark_unreadable(plan.key, found)
            except FeatureStoreError as error:
                self._lose_store(error)

    def _notice_silence(self) -> None:
        silent = self._desk.longest_read() > SILENT_STORAGE_SECONDS
        if silent != self._storage_silent:
            self._storage_silent = silent
            self._message = (
                silent_storage(self._slide) if silent else f"The storage of {self._slide.name} answers again."
            )

    def _aggregate_when_due(self) -> None:
        standing = self._desk.standing()
        now = (standing.tiles_known, standing.unreadable, self._judge)
        if standing.tiles_known == 0 or now == self._aggregated:
            return
        if self._throttle.aggregation_in(self._clock()) > 0 and not standing.complete:
            return
        began = self._clock()
        judge = now[2]
        try:
            self._result = self._judged_by(judge, standing)
        except ValueError as error:
            if judge is self._model:
                raise
            self._message = f"The preview is left out: {error}"
            self._judge = self._model if self._judge is judge else self._judge
            return
        self._aggregated = now
        self._throttle.aggregated(began, self._clock())

    def _judged_by(self, judge: AnalysisModel, standing: Standing) -> SlideResult:
        indices, features = self._bag.contents()
        return aggregate(
            judge,
            indices,
            features,
            self._grid,
            standing.tiles_total,
            slide=self._slide,
            unreadable=standing.unreadable,
        )

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
            device=str(self._model.device),
            state=state,
            message=self._message,
        )
        self._reported = (standing, state, self._result)
        self._message = ""
        self._throttle.reported(now)
        self._emit(report)

    def _state(self, standing: Standing) -> LiveState:
        judged = self._aggregated == (standing.tiles_known, standing.unreadable, self._judge)
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
        if (standing.tiles_known, standing.unreadable, self._judge) != self._aggregated and standing.tiles_known > 0:
            waits.append(self._throttle.aggregation_in(now))
        return max(SHORTEST_WAIT, min(waits))
