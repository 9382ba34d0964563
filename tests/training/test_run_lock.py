"""Two trainings never write to one folder; a lock that a killed training left behind holds nobody up."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from table_job import TableJob, table_loop

from napari_mtlpath.training.loop.report import Phase
from napari_mtlpath.training.loop.run_lock import LOCK_FILE, locked

HERE = socket.gethostname()


def test_second_training_in_the_same_folder_is_refused_and_the_first_goes_on(tmp_path: Path):
    first = table_loop(TableJob(), tmp_path).run(output=tmp_path / "model")
    next(first)
    with pytest.raises(BlockingIOError, match=rf"Another training writes to .*process {os.getpid()} on {HERE}.*Wait"):
        next(table_loop(TableJob(), tmp_path).run(output=tmp_path / "model"))
    *_, last = first
    assert last.phase is Phase.DONE
    assert not (tmp_path / LOCK_FILE).exists()


@pytest.mark.skipif(os.name == "nt", reason="there is no harmless way to ask whether a process lives")
def test_lock_of_a_dead_process_is_taken_over(tmp_path: Path):
    dead = subprocess.Popen([sys.executable, "-S", "-c", ""])
    dead.wait()
    (tmp_path / LOCK_FILE).write_text(f"{dead.pid} on {HERE}", encoding="utf-8")
    with locked(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK_FILE).read_text(encoding="utf-8")
    assert not (tmp_path / LOCK_FILE).exists()


HOLDERS = {"alive": f"{os.getppid()} on {HERE}", "elsewhere": f"{os.getpid()} on another-machine", "unknown": ""}


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS.keys())
def test_lock_that_may_be_held_is_respected(holder: str, tmp_path: Path):
    (tmp_path / LOCK_FILE).write_text(holder, encoding="utf-8")
    with pytest.raises(BlockingIOError, match=r"delete .*training\.lock"), locked(tmp_path):
        pass
    assert (tmp_path / LOCK_FILE).read_text(encoding="utf-8") == holder
