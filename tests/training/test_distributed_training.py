"""Two processes train as one process with the double batch, stop together, and do not wait for a dead one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from made_cohort import write_cohort
from safetensors.torch import load_file
from table_job import TableJob, table_loop
from two_processes import train_folds_and_teachers

from napari_mtlpath.evaluation.prediction_files import read_predictions
from napari_mtlpath.zoo.card import read_model_card

SCRIPT = Path(__file__).parent / "two_processes.py"
TESTS = Path(__file__).parents[1]
DEATH = 7


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder where two processes have trained; the second one died at the end, on purpose."""
    folder = tmp_path_factory.mktemp("two")
    write_cohort(folder / "cohort")
    shared = {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    with socket.socket() as first, socket.socket() as second:
        for name, free in (("FIRST_PORT", first), ("MASTER_PORT", second)):
            free.bind(("127.0.0.1", 0))
            shared[name] = str(free.getsockname()[1])
    if sys.platform == "linux":
        shared["GLOO_SOCKET_IFNAME"] = "lo"
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder)],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": path},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=400)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, DEATH], said
    return folder


@pytest.mark.parametrize("method", ["equal", "uncert+pcgrad"])
def test_two_processes_equal_one_with_the_double_batch(method: str, home: Path, tmp_path: Path):
    job = TableJob(batch=8)
    list(table_loop(job, tmp_path, method=method, epochs=2).run(output=tmp_path / "model"))
    together = torch.load(home / f"{method}.pt", weights_only=True)
    for name, value in job.published.items():
        torch.testing.assert_close(together[name], value, atol=2e-5, rtol=2e-4)


def test_folds_with_teachers_in_two_processes_equal_one_with_the_double_batch(home: Path, tmp_path: Path):
    (tmp_path / "cohort").symlink_to(home / "cohort")
    train_folds_and_teachers(tmp_path, batch=8)
    found = sorted(path.relative_to(tmp_path) for path in tmp_path.glob("**/model.safetensors"))
    assert len(found) == 4  # a teacher and a student per fold
    for path in found:
        alone, together = (load_file(folder / path) for folder in (tmp_path, home))
        assert alone.keys() == together.keys()
        for name, value in alone.items():
            torch.testing.assert_close(together[name].float(), value.float(), atol=2e-3, rtol=2e-3)
    students = [path for path in found if "teacher" not in path.parts]
    assert {path.parent.name for path in students} == {"both-fold-1", "both-fold-2"}
    for path in students:
        alone, together = (read_predictions(folder / path.parent)["test"] for folder in (tmp_path, home))
        assert alone.samples == together.samples
        assert read_model_card(home / path.parent).provenance["processes"] == 2


def test_training_closed_in_one_process_stops_in_both_and_resumes_to_the_same_bits(home: Path):
    whole, stopped = (torch.load(home / f"{name}.pt", weights_only=True) for name in ("whole", "stop"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_process_whose_companion_died_ends_with_a_sentence(home: Path):
    assert "Another process of this training ended" in (home / "said.txt").read_text(encoding="utf-8")
