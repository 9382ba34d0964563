"""The run: slides handed to workers, what comes back entered in the ledger; dask is only a pool of processes."""

import contextlib
import math
import queue
import time
import uuid
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mtlpath.cohort.claims import forget, verdict
from napari_mtlpath.cohort.cluster import Pool
from napari_mtlpath.cohort.ledger import Ledger, Status
from napari_mtlpath.cohort.plan import Plan, entry_of
from napari_mtlpath.cohort.recipe import SlideJob
from napari_mtlpath.cohort.reports import NoWorkers, Report, SlideEnded, TilesDone, WorkerDied
from napari_mtlpath.cohort.worker import TOPIC, Outcome, extract_slide

if TYPE_CHECKING:
    from distributed import Future

LISTENING_SECONDS = 0.5
WORKERLESS_SECONDS = 10.0
COUNTING_SECONDS = 2.0
MOST_TRIES = 10
"""Times that a slide is handed out though every worker that got it died before it began."""


class SchedulerLost(ConnectionError):
    """The scheduler is gone; what is done is in the ledger."""


def extract(plan: Plan, pool: Pool, *, out: Path, ledger: Ledger) -> Generator[Report, None, None]:
    """Work on everything that a plan holds; closing the generator takes back what is not done.

    At most one slide per worker is handed out: a worker that dies takes no other slide with it, and a scheduler that
    dies costs no more than the slides in flight.

    Parameters
    ----------
    plan
        What is to be done.
    pool
        Workers of any dask scheduler.
    out
        The output folder.
    ledger
        Its ledger.

    Raises
    ------
    SchedulerLost
        If the scheduler cannot be reached any more.
    OutputRefused, WrongEncoder
        As :func:`napari_mtlpath.cohort.worker.extract_slide`.
    """
    run = _Run(pool, deque(plan.jobs))
    try:
        while run.waiting or run.active:
            run.hand_out()
            if run.lacks_workers():
                yield NoWorkers()
            for said in run.listen():
                if isinstance(said, TilesDone | WorkerDied):
                    yield said
                    continue
                job, outcome = said
                forget(job.claim)
                entry = entry_of(
                    job,
                    out,
                    status=outcome.status,
                    reason=outcome.reason,
                    tiles=outcome.tiles,
                    unreadable=outcome.unreadable,
                    size=outcome.size,
                )
                ledger.add(entry)
                yield SlideEnded(entry=entry)
    finally:
        run.close()


class _Run:
    """Which slides wait, which are handed out, and what is heard of them."""

    def __init__(self, pool: Pool, waiting: deque[SlideJob]) -> None:
        self.client = client = pool.client
        self.waiting = waiting
        self.active: dict[str, tuple[SlideJob, Future]] = {}
        self._workerless_since: float | None = None
        self._tries: dict[str, int] = {}
        self._slides = {job.target: job.slide for job in waiting}
        self._refill = pool.refill
        self._heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._workers, self._counted = 0, -COUNTING_SECONDS
        client.subscribe_topic(TOPIC, self._heard.put)

    def hand_out(self) -> None:
        """Give each worker without a slide one."""
        workers = self._count_workers()
        while self.waiting and len(self.active) < workers:
            job = self.waiting.popleft()
            key = f"{TOPIC}-{uuid.uuid4().hex}"
            future = self.client.submit(extract_slide, job, key=key, pure=False, retries=0)
            self.active[key] = (job, future)
            future.add_done_callback(self._heard.put)

    def lacks_workers(self) -> bool:
        """Whether there has been no worker for a while; true once each time."""
        since = self._workerless_since
        if since is None or time.monotonic() - since <= WORKERLESS_SECONDS:
            return False
        self._workerless_since = math.inf
        return True

    def listen(self) -> Iterator[TilesDone | WorkerDied | tuple[SlideJob, Outcome]]:
        """Yield what was said since the last time; waits a moment where nothing was."""
        try:
            heard = self._heard.get(timeout=LISTENING_SECONDS)
        except queue.Empty:
            self._check_scheduler()
            return
        if isinstance(heard, tuple):
            said = heard[1]
            if said["target"] in self._slides:
                yield TilesDone(slide=self._slides[said["target"]], known=said["known"], total=said["total"])
        elif heard.key in self.active:
            yield self._ended(*self.active.pop(heard.key))

    def close(self) -> None:
        """Take back what is not done."""
        with contextlib.suppress(Exception):  # the scheduler may be gone: there is nothing to take back then
            self.client.unsubscribe_topic(TOPIC)
            self.client.cancel([future for _, future in self.active.values()], force=True)

    def _ended(self, job: SlideJob, future: "Future") -> WorkerDied | tuple[SlideJob, Outcome]:
        from distributed import KilledWorker

        match future.status:
            case "finished":
                return job, future.result()
            case "error":
                error = future.exception()
                if not isinstance(error, KilledWorker):
                    raise error
            case _:  # cancelled or lost: the scheduler forgot it, or is gone
                self._check_scheduler()
        tries = self._tries[job.target] = self._tries.get(job.target, 0) + 1
        reason = verdict(job.claim)
        if reason is None and tries >= MOST_TRIES:
            reason = f"Every one of the {tries} workers that got it ended before it was done."
        if reason is not None:
            return job, Outcome(status=Status.QUARANTINED, reason=reason)
        self.waiting.append(job)
        return WorkerDied(slide=job.slide)

    def _check_scheduler(self) -> None:
        if self.client.status not in ("running", "connecting", "newly-created"):
            raise SchedulerLost("The dask scheduler is gone. What is done is kept: run the same command again.")

    def _count_workers(self) -> int:
        now = time.monotonic()
        if now - self._counted < COUNTING_SECONDS:
            return self._workers
        self._counted = now
        try:
            self._workers = len(self.client.nthreads())
        except (OSError, TimeoutError) as error:
            raise SchedulerLost("The dask scheduler does not answer. What is done is kept: run it again.") from error
        self._refill()
        if self._workers > 0:
            self._workerless_since = None
        elif self._workerless_since is None:
            self._workerless_since = now
        return self._workers
