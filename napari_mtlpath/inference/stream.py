"""A whole slide as a generator of reports: for the command line, scripts and tests."""

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.inference.aggregate import aggregate
from napari_mtlpath.inference.bag import Bag
from napari_mtlpath.inference.encode import compute_threads, default_readers, encode_within_memory, short_of_memory
from napari_mtlpath.inference.inputs import AnalysedSlide, AnalysisModel, EncodingModel
from napari_mtlpath.inference.pace import LARGEST_BATCH, Throughput
from napari_mtlpath.inference.plan import AnalysisPlan, check_unchanged, plan_for
from napari_mtlpath.inference.results import SlideResult
from napari_mtlpath.inference.tile_reader import SILENT_STORAGE_SECONDS, read_tile, silent_storage

CLOSING_SECONDS = 5.0  # for the reads under way; one that hangs in the storage is left to itself


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where the analysis of a slide stands.

    Attributes
    ----------
    tiles_known, tiles_total
        Tissue tiles: with an embedding, and all.
    unreadable
        Tissue tiles that could not be read.
    tiles_per_second
        Encoded lately.
    message
        A sentence for the user, or empty.
    """

    tiles_known: int
    tiles_total: int
    unreadable: int
    tiles_per_second: float
    message: str = ""


def analyse_slide(
    slide: AnalysedSlide,
    model: AnalysisModel,
    *,
    store: FeatureStore,
    batch: int | None = None,
    readers: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Progress | SlideResult]:
    """Analyse all tissue of a slide; the last report is the result.

    What the store knows is not computed again, and every batch is stored before it is reported: a stopped run goes on
    where it ended. Closing the generator stops reading and waits for the reads under way.

    Parameters
    ----------
    slide, model
        What is analysed, with what.
    store
        Where embeddings are kept.
    batch
        Tiles that go through the encoder at once; None: as fits the device.
    readers
        Number of reader threads; None: as fits the machine.
    clock
        The time in seconds.

    Yields
    ------
    Progress after each batch, then one :class:`SlideResult`. A slide without one readable tile ends with
    :class:`Progress` alone.

    Raises
    ------
    ValueError
        If the microns per pixel are unknown, no tile fits, or the model's numbers are not finite.
    SlideChangedError
        If the file changes meanwhile.
    """
    with compute_threads(model.device):
        plan, bag = yield from embed_slide(slide, model, store=store, batch=batch, readers=readers, clock=clock)
    if bag.known > 0:
        indices, features = bag.contents()
        with compute_threads(model.device):  # as many threads as in the viewer: sums depend on their number
            result = aggregate(model, indices, features, plan.grid, plan.total, slide=slide, unreadable=bag.unreadable)
        yield result


def embed_slide(
    slide: AnalysedSlide,
    model: EncodingModel,
    *,
    store: FeatureStore | None = None,
    batch: int | None = None,
    readers: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[Progress, None, tuple[AnalysisPlan, Bag]]:
    """Embed all tissue of a slide: the part of :func:`analyse_slide` before the model's answer.

    Parameters
    ----------
    slide, batch, readers, clock
        As there.
    model
        Whose tiles are cut and encoded; it needs no aggregator.
    store
        Where embeddings are kept, or None: then a stopped run begins anew.

    Yields
    ------
    Progress, at once and after each batch.

    Returns
    -------
    The tiles and their embeddings (the generator's value).
    """
    plan = plan_for(slide, model)
    bag = Bag(len(plan.grid), plan.indices)
    if store is not None:
        indices, features = store.get(plan.key)
        if features.shape[1] == model.encoder.features:
            bag.write(indices, features)
            bag.mark_known(indices)
    throughput = Throughput()

    def progress(message: str = "") -> Progress:
        return Progress(
            tiles_known=bag.known,
            tiles_total=plan.total,
            unreadable=bag.unreadable,
            tiles_per_second=throughput.rate(clock()),
            message=message,
        )

    yield progress()
    size = batch or LARGEST_BATCH.get(model.device.type, LARGEST_BATCH["cpu"])
    batches = _read_batches(slide, plan, bag, size=size, readers=readers or default_readers(model.device))
    with contextlib.closing(batches):
        for read in batches:
            if isinstance(read, str):
                yield progress(read)
                continue
            began = clock()
            kept, shrunk = _take_in(read, slide, model, store, plan, bag, size=size)
            throughput.add(len(read.tiles), began=began, now=clock())
            size, message = kept, shrunk
            yield progress(message)
    return plan, bag


@dataclass(frozen=True, kw_only=True, eq=False)
class _Batch:
    indices: list[int]
    tiles: list[NDArray[np.uint8]]
    unreadable: list[int]


def _take_in(
    read: _Batch,
    slide: AnalysedSlide,
    model: EncodingModel,
    store: FeatureStore | None,
    plan: AnalysisPlan,
    bag: Bag,
    *,
    size: int,
) -> tuple[int, str]:
    """Encode and keep a batch; return the batch size to go on with, and a sentence where memory made it smaller."""
    message = ""
    if read.tiles:
        embedded = encode_within_memory(model, read.tiles, size=size)
        check_unchanged(slide)
        indices = np.array(read.indices, dtype=np.int64)
        if store is not None:
            store.put(plan.key, indices, embedded.features)
        bag.write(indices, embedded.features)
        bag.mark_known(indices)
        if embedded.size < size:
            size, message = embedded.size, short_of_memory(model, embedded.size)
    if read.unreadable:
        bag.mark_unreadable(read.unreadable)
        if store is not None:
            store.mark_unreadable(plan.key, np.array(read.unreadable, dtype=np.int64))
    return size, message


def _read_batches(
    slide: AnalysedSlide, plan: AnalysisPlan, bag: Bag, *, size: int, readers: int
) -> Generator[_Batch | str, None, None]:
    """Read ahead, row by row so that neighbours share the file's tiles; yield batches, or that storage is silent."""
    pool = ThreadPoolExecutor(readers, thread_name_prefix="mtlpath-reader")
    todo = iter(plan.indices[~bag.settled[plan.indices]].tolist())
    ahead: deque[tuple[int, Future[NDArray[np.uint8] | None]]] = deque()
    try:
        while True:
            for index in itertools.islice(todo, 2 * size + readers - len(ahead)):
                ahead.append((index, pool.submit(read_tile, slide, plan.grid, index)))
            if not ahead:
                return
            part = [ahead.popleft() for _ in range(min(size, len(ahead)))]
            for _, future in part:
                while wait([future], timeout=SILENT_STORAGE_SECONDS).not_done:
                    yield silent_storage(slide)
            read = [(index, future.result()) for index, future in part]
            yield _Batch(
                indices=[index for index, tile in read if tile is not None],
                tiles=[tile for _, tile in read if tile is not None],
                unreadable=[index for index, tile in read if tile is None],
            )
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        under_way = [future for _, future in ahead if not future.cancelled()]
        hanging = wait(under_way, timeout=CLOSING_SECONDS).not_done
        pool.shutdown(wait=not hanging)
