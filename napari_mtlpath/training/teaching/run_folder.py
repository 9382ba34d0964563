"""Where the checkpoint of a teaching lies: in a folder that no other running teaching uses."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from napari_mtlpath.folders import data_folder
from napari_mtlpath.training.loop.run_lock import locked
from napari_mtlpath.zoo.model import SlideModel

RUNS_FOLDER = "teaching"
"""Checkpoints of teachings, below the user's data."""

LOCK_FILE = "teaching.lock"


@contextlib.contextmanager
def own_run_folder(parent: SlideModel, tasks: Sequence[str], *, ending: str = "") -> Iterator[Path]:
    """Hold the folder of a model and tasks while the block runs, or the next one where another teaching holds that.

    A teaching that was stopped or killed is found again in the first of them that nobody holds.

    Parameters
    ----------
    parent
        The model that is taught.
    tasks
        Names of the tasks, in any order.
    ending
        Of the folder's name: keeps trainings from files and those of the viewer apart.
    """
    # A task's name may be no name for a folder.
    own = hashlib.sha256("|".join(sorted(tasks)).encode()).hexdigest()[:16]
    base = data_folder() / RUNS_FOLDER / f"{parent.digest[:16]}-{own}{ending}"
    with contextlib.ExitStack() as held:
        for number in count(1):
            folder = base if number == 1 else base.with_name(f"{base.name}-{number}")
            with contextlib.suppress(BlockingIOError):
                held.enter_context(locked(folder, file=LOCK_FILE))
                break
        yield folder
