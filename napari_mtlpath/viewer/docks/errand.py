"""Slow work that a dock sends for: what it brings back is dropped when the dock is gone."""

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject

from napari_mtlpath.viewer.worker import Job, run


def send_for(
    owner: QObject,
    task: Callable[[], Any],
    *,
    on_done: Callable[[Any], None] | None = None,
    on_error: Callable[[Exception], None] | None = None,
) -> Job:
    """Run a function in a thread for a dock; none of its callbacks is called once the dock is destroyed.

    Parameters
    ----------
    owner
        The dock, or a part of it.
    task, on_done, on_error
        As in :func:`napari_mtlpath.viewer.worker.run`.
    """
    job = run(task, on_done=on_done, on_error=on_error)
    owner.destroyed.connect(lambda: job.cancel())
    return job
