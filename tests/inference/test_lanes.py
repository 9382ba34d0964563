"""Batches in the encoder at once: in order, on their own threads, with the features of one lane alone."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from analysis_fakes import SIDE, FakeModel, FakeSlide

from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.inference.encode import SMALLEST_BATCH, encode
from napari_mtlpath.inference.lanes import MOST_LANES, LanePlan, Lanes, TileBatch, encoding
from napari_mtlpath.inference.pace import LONGEST_SECONDS, ScanPace
from napari_mtlpath.inference.stream import embed_slide

CPU = torch.device("cpu")
PATIENCE = 60.0


@pytest.fixture
def threads() -> Iterator[int]:
    """Let torch use three threads, as on a machine of three cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def batch_of(index: int, *, tiles: int = 2) -> TileBatch:
    pixels = np.full((16, 16, 3), index, dtype=np.uint8)
    return TileBatch(indices=[index] * tiles, tiles=[pixels] * tiles, unreadable=[])


def lanes_of(model: FakeModel, *, most: int) -> Lanes:
    return Lanes(encoding(model), device=model.device, most=most)


def lane_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("mtlpath-encoder")]


def test_every_core_has_a_lane_and_beyond_many_a_lane_has_several(threads: int) -> None:
    assert LanePlan.on(CPU) == LanePlan(lanes=threads, threads=1)
    torch.set_num_threads(2 * MOST_LANES + 1)
    assert LanePlan.on(CPU) == LanePlan(lanes=MOST_LANES, threads=2)
    assert LanePlan.on(torch.device("cuda")).lanes == 1


def test_batches_are_encoded_at_once_each_on_its_own_threads(threads: int) -> None:
    model = FakeModel()
    together = threading.Barrier(threads)
    seen: list[tuple[str, int]] = []

    def meet(tiles: torch.Tensor) -> None:
        together.wait(PATIENCE)  # passes only if as many lanes encode at the same time
        seen.append((threading.current_thread().name, torch.get_num_threads()))

    model.encoder.before = meet
    with lanes_of(model, most=2) as lanes:
        list(lanes.through(batch_of(index) for index in range(2 * threads)))
    assert {count for _, count in seen} == {1}
    assert len({name for name, _ in seen}) == threads
    assert torch.get_num_threads() == threads
    assert lane_threads() == []


def test_threads_that_begin_meanwhile_compute_as_before(threads: int) -> None:
    seen: list[int] = []
    with lanes_of(FakeModel(), most=2) as lanes:
        next(lanes.through([batch_of(0)]))
        other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        other.start()
        other.join(PATIENCE)
    assert seen == [threads]


def test_results_come_in_the_order_of_the_batches(threads: int) -> None:
    model = FakeModel()
    others_done = threading.Event()

    def delay_first(tiles: torch.Tensor) -> None:
        if int(tiles[0, 0, 0, 0]) == 0:
            assert others_done.wait(PATIENCE)
        elif int(tiles[0, 0, 0, 0]) == 2:
            others_done.set()

    model.encoder.before = delay_first
    with lanes_of(model, most=2) as lanes:
        found = [encoded.embedded for encoded in lanes.through(batch_of(index) for index in range(5))]
    assert [float(embedded.features[0, 0]) for embedded in found if embedded is not None] == [0, 1, 2, 3, 4]


def test_few_batches_are_taken_ahead_of_what_was_handed_out(threads: int) -> None:
    taken: list[int] = []

    def batches() -> Iterator[TileBatch]:
        for index in range(100):
            taken.append(index)
            yield batch_of(index)

    with lanes_of(FakeModel(), most=2) as lanes:
        next(lanes.through(batches()))
        assert len(taken) <= 2 * threads + 1
    assert lane_threads() == []


def test_sentences_and_empty_batches_pass_through() -> None:
    empty = TileBatch(indices=[], tiles=[], unreadable=[4])
    with lanes_of(FakeModel(), most=2) as lanes:
        said, encoded = lanes.through(["The storage is silent.", empty])
    assert said == "The storage is silent."
    assert not isinstance(encoded, str)
    assert encoded.batch is empty
    assert encoded.embedded is None


def test_failure_in_a_lane_is_raised_and_no_thread_is_left(threads: int) -> None:
    model = FakeModel()

    def fail(tiles: torch.Tensor) -> None:
        if int(tiles[0, 0, 0, 0]) == 3:
            raise RuntimeError("shape mismatch")

    model.encoder.before = fail
    with pytest.raises(RuntimeError, match="shape mismatch"), lanes_of(model, most=2) as lanes:
        list(lanes.through(batch_of(index) for index in range(20)))
    assert lane_threads() == []
    assert torch.get_num_threads() == threads


def test_slide_closed_while_lanes_encode_is_resumed_without_loss(threads: int, tmp_path) -> None:
    slide, model, store = FakeSlide(), FakeModel(), FeatureStore(tmp_path / "features.sqlite")
    run = embed_slide(slide, model, store=store, batch=4)
    for progress in run:
        if progress.tiles_known >= 12:
            break
    run.close()
    assert lane_threads() == []
    slide.reads.clear()
    first, *_ = list(embed_slide(slide, model, store=store, batch=4))
    assert first.tiles_known == 12
    assert len(slide.reads) == 80 - 12
    store.close()


def test_lack_of_memory_in_several_lanes_is_said_once(threads: int) -> None:
    model = FakeModel()

    def refuse(tiles: torch.Tensor) -> None:
        if len(tiles) > 4:
            raise torch.OutOfMemoryError("not enough memory")

    model.encoder.before = refuse
    reports = list(embed_slide(FakeSlide(), model, batch=16))
    assert reports[-1].tiles_known == 80
    assert max(model.encoder.batches) <= 4
    assert sum("Memory" in report.message for report in reports) == 1


@pytest.mark.parametrize("name", ["tissue-small", "colour-stats"])
def test_features_are_the_same_bits_on_any_number_of_threads_and_lanes(name: str) -> None:
    model = FakeModel()
    model.encoder = load_encoder(name)
    side = int(model.encoder.tile_px)
    rng = np.random.default_rng(0)
    tiles = [rng.integers(0, 255, size=(side, side, 3), dtype=np.uint8) for _ in range(12)]
    expected = encode(model, np.stack(tiles))
    before = torch.get_num_threads()
    try:
        for count in (2, 3, 4):
            torch.set_num_threads(count)
            np.testing.assert_array_equal(encode(model, np.stack(tiles)), expected)  # the viewer's way
            batches = [
                TileBatch(indices=[], tiles=tiles[first : first + 5], unreadable=[]) for first in range(0, 12, 5)
            ]
            with lanes_of(model, most=5) as lanes:
                found = [encoded.embedded.features for encoded in lanes.through(batches)]
            np.testing.assert_array_equal(np.concatenate(found), expected)
    finally:
        torch.set_num_threads(before)


def test_slow_encoders_get_batches_that_can_be_stopped_soon() -> None:
    pace = ScanPace("cpu")
    quick = pace.size
    pace.encoded(quick, seconds=0.9 * LONGEST_SECONDS)
    assert pace.size == quick
    pace.encoded(quick, seconds=1.9 * LONGEST_SECONDS)
    assert pace.size == quick // 2
    pace.encoded(quick // 2, seconds=300.0)
    assert pace.size == SMALLEST_BATCH
    pace.encoded(SMALLEST_BATCH, seconds=0.0001)
    assert pace.size == quick


def test_batch_that_the_caller_wants_is_cut_by_memory_alone() -> None:
    fixed = ScanPace("cpu", batch=16)
    fixed.encoded(16, seconds=100.0)
    assert (fixed.size, fixed.most) == (16, 16)
    fixed.limit(3)
    assert (fixed.size, fixed.most) == (3, 3)


def test_reading_stays_a_batch_per_lane_ahead_at_most(threads: int) -> None:
    slide, model = FakeSlide(rows=40, columns=40), FakeModel()
    run = embed_slide(slide, model, batch=4, readers=2)
    next(run)
    next(run)
    run.close()
    assert len(slide.reads) <= 4 * (2 * threads + 1) + 4 + 2 + 2
    assert slide.height == 40 * SIDE
