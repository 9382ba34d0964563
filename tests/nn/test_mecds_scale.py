"""One tile or fifty thousand, one task or thirty-two: bounded memory, no mask over tiles."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from napari_mtlpath.nn.aggregators.mecds import MECDS
from napari_mtlpath.tasks import Classification

MEASURE = """
import sys, torch
from pathlib import Path
from napari_mtlpath.nn.aggregators.mecds import MECDS
from napari_mtlpath.tasks import Classification

def peak():
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024

torch.set_num_threads(1)
tiles, tasks, mixing, train = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] == "train"
options = {"width": 16, "heads": 1, "blocks": 1, "feedforward": 2, "mixing": mixing, "landmarks": 16}
model = MECDS.build(tasks=[Classification(name=str(i)) for i in range(tasks)], features=8, options=options)
with torch.set_grad_enabled(train):
    model(torch.randn(3, 8))
    before = peak()
    output = model.train(train)(torch.randn(tiles, 8), explain=not train)
    loss = sum(answer.logits.sum() for answer in output.tasks.values())
    if train:
        loss.backward()
assert loss.isfinite()
print(peak() - before)
"""


def peak_mib(tiles: int, tasks: int, mixing: str, mode: str) -> float:
    """Return what one pass adds to the peak memory of a process of its own."""
    if not Path("/proc/self/status").is_file():
        pytest.skip("Peak memory of a process is read from /proc, which is only on Linux")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tiles), str(tasks), mixing, mode],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return float(done.stdout)


@pytest.mark.parametrize("mixing", ["none", "landmark"])
def test_fifty_thousand_tiles_and_thirty_two_tasks_fit_in_little_memory(mixing: str) -> None:
    # A boolean mask over tiles alone would be 2384 MiB; what the tasks keep for their maps is 32 x some bytes per tile.
    assert peak_mib(50_000, 32, mixing, "predict") < 200.0


@pytest.mark.parametrize("mode", ["predict", "train"])
def test_full_mixing_never_holds_a_matrix_over_tiles(mode: str) -> None:
    # One 8000 x 8000 matrix of float32 is 244 MiB, a boolean one 61 MiB.
    assert peak_mib(8_000, 2, "full", mode) < 50.0


@pytest.mark.slow
def test_fifty_thousand_tiles_mix_fully_in_linear_memory() -> None:
    assert peak_mib(50_000, 3, "full", "predict") < 200.0


@pytest.mark.parametrize("mixing", ["full", "landmark", "none"])
@pytest.mark.parametrize("tiles", [1, 2, 3])
@pytest.mark.parametrize("tasks", [1, 32])
def test_the_smallest_bags_and_most_tasks_answer(mixing: str, tiles: int, tasks: int) -> None:
    options = {"width": 16, "heads": 2, "mixing": mixing}
    names = [Classification(name=str(index)) for index in range(tasks)]
    model = MECDS.build(tasks=names, features=8, options=options).eval()
    with torch.inference_mode():
        output = model(torch.randn(tiles, 8), explain=True)
    assert all(answer.logits.isfinite().all() for answer in output.tasks.values())
    assert all(answer.selected is not None and answer.selected.any() for answer in output.tasks.values())
