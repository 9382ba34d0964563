"""A whole slide as a generator of reports: for the command line, scripts and tests."""

import contextlib
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
from napari_mtlpath.inference.encode import Embedded, compute_threads, scan_readers, short_of_memory
from napari_mtlpath.inference.inputs import AnalysedSlide, AnalysisModel, EncodingModel
from napari_mtlpath.inference.lanes import EncodedBatch, Lanes, Made, TileBatch, encoding
from napari_mtlpath.inference.pace import ScanPace, Throughput
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

    On a CPU every core encodes a batch of its own; the reader threads work between them, a batch or two ahead, and
    then sleep. So no core waits for another.

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
    pace = ScanPace(model.device.type, batch=batch)
    lanes = Lanes(encoding(model), device=model.device, most=pace.most, clock=clock)
    todo = plan.indices[~bag.settled[plan.indices]]
    batches = read_batches(
        todo.tolist(),
        lambda index: read_tile(slide, plan.grid, index),
        pace,
        readers=readers or scan_readers(model.device),
        silent=silent_storage(slide),
    )
    with lanes, contextlib.closing(batches):
        for encoded in lanes.through(batches):
            if isinstance(encoded, str):
                yield progress(encoded)
                continue
            _take_in(encoded, slide, store, plan, bag)
            throughput.add(len(encoded.batch.tiles), began=encoded.began, now=encoded.ended)
            yield progress(short_of_memory(model, lanes.most) if smaller_from_now(encoded, lanes, pace) else "")
    return plan, bag


def _take_in(
    encoded: EncodedBatch[Embedded],
    slide: AnalysedSlide,
    store: FeatureStore | None,
    plan: AnalysisPlan,
    bag: Bag,
) -> None:
    """Keep what an encoded batch says, in the store first."""
    read = encoded.batch
    if encoded.embedded is not None:
        check_unchanged(slide)
        indices = np.array(read.indices, dtype=np.int64)
        if store is not None:
            store.put(plan.key, indices, encoded.embedded.features)
        bag.write(indices, encoded.embedded.features)
        bag.mark_known(indices)
    if read.unreadable:
        bag.mark_unreadable(read.unreadable)
        if store is not None:
            store.mark_unreadable(plan.key, np.array(read.unreadable, dtype=np.int64))


def smaller_from_now(encoded: EncodedBatch[Made], lanes: Lanes[Made], pace: ScanPace) -> bool:
    """Fit the size of the batches to come; return whether memory made them smaller."""
    if encoded.embedded is None:
        return False
    pace.encoded(len(encoded.batch.tiles), seconds=encoded.ended - encoded.began)
    if encoded.embedded.size >= lanes.most:
        return False
    lanes.most = encoded.embedded.size
    pace.limit(lanes.most)
    return True


def read_batches(
    indices: list[int],
    fetch: Callable[[int], NDArray[np.uint8] | None],
    pace: ScanPace,
    *,
    readers: int,
    silent: str,
) -> Generator[TileBatch | str, None, None]:
    """Read ahead, row by row so that neighbours share the file's tiles; yield batches, or that storage is silent.

    Parameters
    ----------
    indices
        Tiles, in this order.
    fetch
        Reads one of them; None where it is unreadable.
    pace
        How many tiles a batch has.
    readers
        Number of reader threads.
    silent
        What to say while a read hangs.
    """
    pool = ThreadPoolExecutor(readers, thread_name_prefix="mtlpath-reader")
    todo = deque(indices)
    ahead: deque[tuple[int, Future[NDArray[np.uint8] | None]]] = deque()
    try:
        while True:
            while todo and len(ahead) < 2 * pace.size + readers:
                index = todo.popleft()
                ahead.append((index, pool.submit(fetch, index)))
            if not ahead:
                return
            part = [ahead.popleft() for _ in range(min(pace.size, len(ahead)))]
            for _, future in part:
                while not future.done() and wait([future], timeout=SILENT_STORAGE_SECONDS).not_done:
                    yield silent
            read = [(index, future.result()) for index, future in part]
            yield TileBatch(
                indices=[index for index, tile in read if tile is not None],
                tiles=[tile for _, tile in read if tile is not None],
                unreadable=[index for index, tile in read if tile is None],
            )
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        under_way = [future for _, future in ahead if not future.cancelled()]
        hanging = wait(under_way, timeout=CLOSING_SECONDS).not_done
        pool.shutdown(wait=not hanging)
