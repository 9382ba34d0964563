"""A whole slide through a pixel model, as a generator of reports: for the command line, scripts and tests."""

import contextlib
import time
from collections.abc import Callable, Generator

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.encode import scan_readers
from napari_mtlpath.inference.inputs import AnalysedSlide
from napari_mtlpath.inference.lanes import Lanes
from napari_mtlpath.inference.pace import ScanPace, Throughput
from napari_mtlpath.inference.pixels.answering import Answered, answer, read_window, short_of_memory
from napari_mtlpath.inference.pixels.inputs import AnsweringModel
from napari_mtlpath.inference.pixels.maps import PixelMaps
from napari_mtlpath.inference.pixels.plan import PixelPlan
from napari_mtlpath.inference.pixels.planes import Planes
from napari_mtlpath.inference.pixels.window_file import WindowFile
from napari_mtlpath.inference.plan import check_unchanged
from napari_mtlpath.inference.stream import Progress, read_batches, smaller_from_now
from napari_mtlpath.inference.tile_reader import silent_storage

RECALLED_AT_ONCE = 64
"""Tiles of an earlier run that are added together."""


def analyse_pixels(
    slide: AnalysedSlide,
    model: AnsweringModel,
    plan: PixelPlan,
    *,
    open_file: Callable[[Planes], WindowFile],
    readers: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[Progress, None, tuple[PixelMaps, int]]:
    """Analyse all tissue of a slide pixel by pixel.

    Every batch is on disk before it is reported, and what is there already is not computed again: a stopped run goes on
    where it ended.

    Parameters
    ----------
    slide, model, plan
        What is analysed, with what, where.
    open_file
        Makes or opens the file of windows.
    readers
        Number of reader threads; None: as fits the machine.
    clock
        The time in seconds.

    Yields
    ------
    Progress, at once and after each batch.

    Returns
    -------
    The answers and the number of unreadable tiles (the generator's value). The caller closes the answers.

    Raises
    ------
    ValueError
        If the model's numbers are not finite.
    SlideChangedError
        If the file changes meanwhile.
    OSError
        If the disk is full.
    """
    planes = Planes(tasks=tuple(model.tasks), attentive=())  # no file that is written shows attention
    maps = PixelMaps(plan.lattice, planes, file=open_file(planes))
    try:
        return (
            yield from _analyse(slide, model, plan, maps, readers=readers or scan_readers(model.device), clock=clock)
        )
    except BaseException:
        maps.close(delete=False)
        raise


def _analyse(
    slide: AnalysedSlide,
    model: AnsweringModel,
    plan: PixelPlan,
    maps: PixelMaps,
    *,
    readers: int,
    clock: Callable[[], float],
) -> Generator[Progress, None, tuple[PixelMaps, int]]:
    throughput, unreadable = Throughput(), 0

    def progress(message: str = "") -> Progress:
        return Progress(
            tiles_known=int(maps.known.sum()),
            tiles_total=plan.total,
            unreadable=unreadable,
            tiles_per_second=throughput.rate(clock()),
            message=message,
        )

    there = np.intersect1d(maps.kept, plan.indices)
    for first in range(0, len(there), RECALLED_AT_ONCE):
        maps.recall(there[first : first + RECALLED_AT_ONCE].tolist())
        yield progress()
    yield progress()
    pace = ScanPace(model.device.type)

    def work(tiles: list[NDArray[np.uint8]], most: int) -> Answered:
        return answer(model, maps.planes, tiles, size=most)

    lanes = Lanes(work, device=model.device, most=pace.most, clock=clock)
    todo = np.setdiff1d(plan.indices, there).tolist()
    batches = read_batches(
        todo, lambda index: read_window(slide, plan.lattice, index), pace, readers=readers, silent=silent_storage(slide)
    )
    with lanes, contextlib.closing(batches):
        for done in lanes.through(batches):
            if isinstance(done, str):
                yield progress(done)
                continue
            unreadable += len(done.batch.unreadable)
            if done.embedded is not None:
                check_unchanged(slide)
                maps.add(done.batch.indices, done.embedded.windows, done.embedded.numbers)
            throughput.add(len(done.batch.tiles), began=done.began, now=done.ended)
            short = smaller_from_now(done, lanes, pace)
            yield progress(short_of_memory(model, lanes.most) if short else "")
    maps.finish()
    return maps, unreadable
