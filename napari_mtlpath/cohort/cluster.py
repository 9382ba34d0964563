"""Workers: processes of this machine by default, or those of any dask scheduler."""

import contextlib
import importlib.util
import logging
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from distributed import Client

LOOPBACK = "127.0.0.1"
CONNECTING_SECONDS = 15.0
GPU_WORKERS = 4
"""Workers beside a GPU: they decode tiles in turn while one of them has the GPU."""


def _leave_alone() -> None:
    """Do nothing: workers of a foreign scheduler are somebody else's."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Workers that are there.

    Attributes
    ----------
    client
        dask's client.
    dashboard
        Address of dask's dashboard, or an empty string.
    notes
        Sentences that a user should know.
    refill
        Starts workers in place of those that are gone for good; harmless while none is.
    """

    client: "Client"
    dashboard: str = ""
    notes: tuple[str, ...] = ()
    refill: Callable[[], None] = _leave_alone


def default_workers(device_type: str) -> int:
    """Return how many processes suit this machine: one per core, fewer beside a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if device_type == "cpu" else max(1, min(GPU_WORKERS, cores // 4))


@contextlib.contextmanager
def own_workers(count: int) -> Iterator[Pool]:
    """Start worker processes on this machine, reachable from nowhere else, and end them afterwards.

    They are spawned, not forked, with one thread each; a process that dies is replaced. Ctrl-C reaches this process
    alone.
    """
    import dask
    from distributed import Client, LocalCluster

    dashboard = importlib.util.find_spec("bokeh") is not None
    settings = {
        "distributed.scheduler.allowed-failures": 0,  # each death comes back to us, who know whose fault it was
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.worker.daemon": True,
        # A loaded machine is no broken one: a process may take its time to come back.
        "distributed.comm.timeouts.connect": "60s",
        "distributed.deploy.lost-worker-timeout": "120s",
    }
    with dask.config.set(settings):
        with _interrupt_held_back():
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                host=LOOPBACK,
                dashboard_address=f"{LOOPBACK}:0" if dashboard else None,
                silence_logs=logging.CRITICAL,
            )
        with _quiet(), cluster, Client(cluster) as client:
            notes = () if dashboard else ("There is no dashboard: it needs bokeh (pip install bokeh).",)
            link = client.dashboard_link if dashboard else ""
            yield Pool(client=client, dashboard=link, notes=notes, refill=partial(cluster.scale, count))


@contextlib.contextmanager
def workers_at(address: str) -> Iterator[Pool]:
    """Use the workers of a running scheduler; they go on when this ends.

    Raises
    ------
    ConnectionError
        If no scheduler answers there.
    """
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECTING_SECONDS)
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"No dask scheduler answers at {address!r}. Start one with 'dask scheduler' and give the address it prints."
        ) from error
    with _quiet(), client:
        link = client.dashboard_link or ""
        yield Pool(client=client, dashboard=link, notes=(*_warnings(address), *_thread_notes(client.nthreads())))


def _warnings(address: str) -> tuple[str, ...]:
    """Say when anybody who reaches a scheduler's port could run code on its workers."""
    parts = urlsplit(address)
    if parts.scheme == "tls" or parts.hostname in (LOOPBACK, "localhost", "::1"):
        return ()
    return (
        f"{address} is neither on this machine nor protected by TLS: whoever reaches that port can run code on its "
        "workers. Use tls:// or a private network.",
    )


def _thread_notes(threads: dict[str, Any]) -> tuple[str, ...]:
    many = sum(count > 1 for count in threads.values())
    if many == 0:
        return ()
    return (f"{many} workers have more than one thread; one slide at a time is open in each. Use --nthreads 1.",)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep dask from the terminal: what a user should know is said in our own words."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _interrupt_held_back() -> Iterator[None]:
    """Start threads and processes that never see Ctrl-C: they inherit that the signal is blocked."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # now: where it starts it unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
