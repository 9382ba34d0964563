"""One run of a live analysis with a slide model: tiles become embeddings, the bag of them an answer."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.features.database import FeatureStoreError
from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.inference.aggregate import aggregate
from napari_mtlpath.inference.bag import Bag
from napari_mtlpath.inference.desk import Desk, ReadTile, Standing
from napari_mtlpath.inference.encode import encode_within_memory, short_of_memory
from napari_mtlpath.inference.inputs import AnalysedSlide, AnalysisModel
from napari_mtlpath.inference.live_cycle import LiveCycle
from napari_mtlpath.inference.live_report import LiveReport
from napari_mtlpath.inference.plan import AnalysisPlan, check_unchanged, grid_for, plan_for
from napari_mtlpath.inference.results import SlideResult
from napari_mtlpath.inference.tile_reader import read_tile


class LiveRun(LiveCycle):
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
        super().__init__(slide, desk, device=model.device, emit=emit, clock=clock)
        self._model = model
        self._judge = judge or model
        self._store = store
        self._grid = grid_for(slide, model)
        self._plan: AnalysisPlan | None = None
        self._bag = Bag(0, np.empty(0, dtype=np.int64))
        self._store_works = True

    def preview(self, judge: AnalysisModel | None) -> None:
        """Let another model of the same encoder judge the tiles in the bag from now on; None: the model itself."""
        self._judge = judge or self._model
        self._desk.wake()

    def _prepare(self) -> None:
        self._plan = plan = plan_for(self._slide, self._model)
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

    def _start_over(self) -> None:
        plan = self._planned()
        try:
            self._store.forget(plan.key)
        except FeatureStoreError as error:
            self._lose_store(error)
        self._bag = Bag(len(plan.grid), plan.indices)
        self._desk.begin(plan.tissue, self._bag)

    def _read(self, index: int) -> NDArray[np.uint8] | None:
        return read_tile(self._slide, self._grid, index)

    def _think(self, tiles: Sequence[ReadTile]) -> int:
        plan = self._planned()
        embedded = encode_within_memory(self._model, [tile.pixels for tile in tiles], size=len(tiles))
        indices = np.array([tile.index for tile in tiles], dtype=np.int64)
        check_unchanged(self._slide)
        if self._store_works:
            try:
                self._store.put(plan.key, indices, embedded.features)
            except FeatureStoreError as error:
                self._lose_store(error)
        self._bag.write(indices, embedded.features)
        return embedded.size

    def _smaller(self, size: int) -> str:
        return short_of_memory(self._model, size)

    def _note_unreadable(self, found: NDArray[np.int64]) -> None:
        if len(found) > 0 and self._store_works:
            try:
                self._store.mark_unreadable(self._planned().key, found)
            except FeatureStoreError as error:
                self._lose_store(error)

    def _heed(self) -> None:
        """Nothing to do: a slide model's attention comes with its answers."""

    def _judging(self) -> object:
        return self._judge

    def _judge_known(self, standing: Standing, judge: object) -> SlideResult | None:
        used = cast("AnalysisModel", judge)  # what `_judging` returned
        indices, features = self._bag.contents()
        total, unreadable = standing.tiles_total, standing.unreadable
        try:
            return aggregate(used, indices, features, self._grid, total, slide=self._slide, unreadable=unreadable)
        except ValueError as error:
            if used is self._model:
                raise
            self._message = f"The preview is left out: {error}"
            self._judge = self._model if self._judge is used else self._judge
            return None

    def _lose_store(self, error: FeatureStoreError) -> None:
        self._store_works = False
        self._message = f"{error} The analysis goes on; its embeddings are not kept."

    def _planned(self) -> AnalysisPlan:
        assert self._plan is not None  # the inference thread prepares before all else
        return self._plan
