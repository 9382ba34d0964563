"""What is computed aside: it gives the same result, and it is left at once."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from taught_world import OLD, bag_of, lesson_of, quick, saved_model
from torch.nn import functional

from napari_mtlpath.nn.aggregators.mecds import MECDS
from napari_mtlpath.training.teaching import aside
from napari_mtlpath.training.teaching.aside import computed_aside
from napari_mtlpath.training.teaching.guard import Guard
from napari_mtlpath.training.teaching.report import TeachPhase
from napari_mtlpath.training.teaching.teach import teach

TILES = 50_000
DENSE = {"width": 16, "heads": 2, "blocks": 2, "feedforward": 1, "mixing": "full"}


def result_of(computing):
    while True:
        try:
            next(computing)
        except StopIteration as end:
            return end.value


def aside_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mtlpath-aside"]


def gone(seconds: float) -> bool:
    end = time.monotonic() + seconds
    for thread in aside_threads():
        thread.join(max(0.0, end - time.monotonic()))
    return not aside_threads()


def large_bag():
    return bag_of(5, tiles=TILES, labelled=0, origins={})


def test_result_and_failure_are_those_of_the_computation():
    assert result_of(computed_aside(lambda: torch.ones(3).sum().item())) == 3.0
    with pytest.raises(MemoryError, match="no room"):
        result_of(computed_aside(lambda: (_ for _ in ()).throw(MemoryError("no room"))))
    assert gone(5)


@pytest.mark.parametrize("threads", [1, 2])
def test_it_computes_on_as_many_threads_as_its_caller(threads: int):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert result_of(computed_aside(torch.get_num_threads)) == threads
    finally:
        torch.set_num_threads(before)


def test_dense_attention_in_parts_is_dense_attention(monkeypatch: pytest.MonkeyPatch):
    chance = torch.Generator().manual_seed(0)
    queries, keys, values = (torch.randn(1, 2, count, 8, generator=chance) for count in (70, 50, 50))
    whole = functional.scaled_dot_product_attention(queries, keys, values)
    monkeypatch.setattr(aside, "MOST_PAIRS", 50 * 16)
    found = result_of(computed_aside(lambda: functional.scaled_dot_product_attention(queries, keys, values)))
    torch.testing.assert_close(found, whole)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.0, 0.5, 2.0])
def test_guard_of_a_huge_dense_bag_is_left_within_a_second(moment: float):
    model = MECDS.build(tasks=OLD, features=large_bag().features.shape[1], options=DENSE)
    recording = Guard.recording(model, [large_bag()])
    assert next(recording) is None
    end = time.monotonic() + moment
    while time.monotonic() < end:
        assert next(recording) is None, "the bag is too small to tell: it was answered before it could be left"
    start = time.monotonic()
    recording.close()
    assert time.monotonic() - start < 1.0
    assert gone(10), "the thread computes on although nobody waits"


@pytest.mark.slow
def test_cancelling_a_teaching_while_the_guard_records_a_huge_bag_takes_less_than_a_second(tmp_path: Path):
    parent = saved_model(tmp_path, **DENSE)
    running = teach(parent, lesson_of(), quick(), references=[large_bag()], folder=tmp_path / "run")
    for _ in range(8):  # nearly a second into the bag
        assert next(running).phase is TeachPhase.PREPARING
    start = time.monotonic()
    running.close()
    assert time.monotonic() - start < 1.0
    assert gone(10)


def test_guard_says_the_same_aside_as_in_one_piece(tmp_path: Path):
    parent = saved_model(tmp_path, blocks=2)
    bags = [bag_of(number, labelled=0, origins={}) for number in (1, 2)]
    one, other = Guard.of(parent, bags), Guard.of(parent, bags)
    assert one.check(parent).identical
    assert one.check(parent).after == other.check(parent).before
    with torch.inference_mode():
        said = parent.aggregator(torch.from_numpy(np.ascontiguousarray(bags[0].features)), explain=True)
    scores = one._before.scores["share"][0]
    assert np.array_equal(scores, said.tasks["share"].logits.double().numpy())
