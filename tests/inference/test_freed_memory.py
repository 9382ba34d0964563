"""What a batch has freed is there for the next one: no page of it is asked of the system again."""

import subprocess
import sys

import pytest

PAGES = 60 * 2**20 // 4096

SCRIPT = """
import resource, sys, threading
import numpy as np
from napari_mtlpath.inference.freed_memory import keep_freed_memory

def layers():
    for _ in range(4):  # the feature maps of four batches
        kept = [np.ones(2_500_000, np.float32) for _ in range(6)]
        kept.clear()

def faults():
    layers()
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    layers()
    print(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)

if sys.argv[1] == "keep":
    print(keep_freed_memory())
thread = threading.Thread(target=faults)
thread.start()
thread.join()
"""


def said(word: str) -> list[str]:
    run = subprocess.run([sys.executable, "-c", SCRIPT, word], capture_output=True, text=True, check=True)
    return run.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="counts the page faults of a thread")
def test_memory_that_was_freed_is_used_again_without_asking_the_system() -> None:
    possible, faults = said("keep")
    if possible != "True":
        pytest.skip("another C library than glibc")
    assert int(faults) < PAGES / 100
    assert int(said("leave")[0]) > PAGES / 10
