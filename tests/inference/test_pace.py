import numpy as np
import pytest
import torch

from napari_mtlpath.inference.bag import Bag
from napari_mtlpath.inference.encode import compute_threads, is_out_of_memory
from napari_mtlpath.inference.pace import LARGEST_BATCH, BatchSizer, Throttle, Throughput
from napari_mtlpath.inference.threads import sentence_of


@pytest.mark.parametrize("seconds_per_tile", [0.0005, 0.004, 0.01, 0.1])
def test_moving_view_gets_batches_of_at_most_40_ms(seconds_per_tile):
    sizer = BatchSizer("cuda")
    for _ in range(20):
        sizer.encoded(sizer.size, sizer.size * seconds_per_tile, resting=False)
        assert sizer.size == 1 or sizer.size * seconds_per_tile <= 0.04 + 1e-9


def test_resting_view_gets_growing_batches_up_to_a_quarter_of_a_second():
    sizer = BatchSizer("cuda")
    sizes = []
    for _ in range(12):
        sizer.encoded(sizer.size, sizer.size * 0.004, resting=True)
        sizes.append(sizer.size)
    assert sizes == sorted(sizes)
    assert sizes[-1] == 62
    sizer.moved()
    assert sizer.size == 10


def test_batches_never_exceed_what_the_device_or_its_memory_takes():
    sizer = BatchSizer("cpu")
    for _ in range(12):
        sizer.encoded(sizer.size, sizer.size * 0.0001, resting=True)
    assert sizer.size == LARGEST_BATCH["cpu"]
    sizer.limit(3)
    for _ in range(5):
        sizer.encoded(sizer.size, sizer.size * 0.0001, resting=True)
    assert sizer.size == 3


def test_aggregation_waits_three_times_as_long_as_it_took():
    throttle = Throttle()
    assert throttle.aggregation_in(0.0) <= 0
    throttle.aggregated(10.0, 12.0)
    assert throttle.aggregation_in(12.0) == pytest.approx(6.0)
    throttle.aggregated(20.0, 20.001)
    assert throttle.aggregation_in(20.001) == pytest.approx(0.099)


def test_throughput_counts_the_last_seconds_only():
    throughput = Throughput()
    assert throughput.rate(0.0) == 0.0
    for second in range(10):
        throughput.add(50, began=float(second), now=second + 1.0)
    assert throughput.rate(10.0) == pytest.approx(50.0)
    assert throughput.rate(60.0) == 0.0


def test_throughput_of_one_slow_batch_is_its_own():
    throughput = Throughput()
    throughput.add(10, began=0.0, now=10.0)
    throughput.add(10, began=10.0, now=20.0)
    assert throughput.rate(20.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_lack_of_memory_is_told_from_other_failures(error, expected):
    assert is_out_of_memory(error) is expected


def test_threads_of_the_cpu_are_given_back():
    before = torch.get_num_threads()
    with compute_threads(torch.device("cpu")):
        assert torch.get_num_threads() >= 1
    assert torch.get_num_threads() == before


def test_every_error_has_a_sentence():
    assert sentence_of(ValueError("Slide 'a' is gone.")) == "Slide 'a' is gone."
    assert sentence_of(KeyError("token")) == "The analysis stopped: KeyError: 'token'."
    assert sentence_of(RuntimeError()) == "The analysis stopped: RuntimeError."


def test_bag_gives_known_tiles_in_ascending_order():
    bag = Bag(10, np.array([1, 3, 5, 7]))
    bag.write(np.array([7, 3, 2]), np.array([[7.0], [3.0], [2.0]], np.float32))
    assert bag.known == 0
    bag.mark_known(np.array([7, 3, 2]))
    indices, features = bag.contents()
    assert indices.tolist() == [3, 7]
    assert features.ravel().tolist() == [3.0, 7.0]
    assert not bag.complete
    bag.mark_unreadable([1, 3, 2])
    assert (bag.known, bag.unreadable) == (2, 1)
    bag.write(np.array([5]), np.array([[5.0]], np.float32))
    bag.mark_known(np.array([5]))
    assert bag.complete
