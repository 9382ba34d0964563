"""`mtlpath extract` with real processes: killed workers, a killed client, broken slides, the same bytes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from cohort_parts import TILE_UM, planned, write_encoder, write_slides
from typer.testing import CliRunner

from napari_mtlpath.cli.main import app
from napari_mtlpath.cohort.cluster import own_workers
from napari_mtlpath.cohort.extract import extract as extraction
from napari_mtlpath.cohort.recipe import recipe_for
from napari_mtlpath.cohort.reports import SlideEnded
from napari_mtlpath.cohort.worker import extract_slide

GENEROUS_SECONDS = 200
"""How long a loaded machine may take for anything."""


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Slides in the order in which they are handed out, the largest first, and one that is broken."""
    folder = write_slides(tmp_path_factory.mktemp("cohort") / "scans", victim=1200, middle=500, small=400)
    (folder / "broken.svs").write_bytes(b"II*\0 nothing")
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoders"))


@pytest.fixture(scope="module")
def recipe(encoder):
    return recipe_for(str(encoder), tile_um=TILE_UM)


@pytest.fixture(scope="module")
def expected(scans, recipe, tmp_path_factory):
    """What one process makes of the slides, one after the other: bytes by name."""
    jobs = planned(scans, tmp_path_factory.mktemp("expected") / "out", recipe=recipe).jobs
    for job in jobs:
        extract_slide(job)
    return {path.name: path.read_bytes() for path in Path(jobs[0].target).parent.glob("*.h5")}


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTLPATH_HOME", str(tmp_path_factory.mktemp("home")))
        with own_workers(2) as pool:
            yield pool


def words(scans, encoder, out, *more):
    return ["extract", str(scans), "--encoder", str(encoder), "--tile-um", str(TILE_UM), "--out", str(out), *more]


def extract(scans, encoder, out, pool, *more):
    result = CliRunner().invoke(
        app, words(scans, encoder, out, "--scheduler", pool.client.scheduler.address, "--json", *more)
    )
    if result.exit_code not in (0, 3):
        return result, {}
    return result, {Path(row["slide"]).stem: row for row in json.loads(result.stdout)["slides"]}


def found_in(out):
    return {path.name: path.read_bytes() for path in out.glob("*.h5")}


def until(condition, what):
    end = time.monotonic() + GENEROUS_SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


class Killer(threading.Thread):
    """Kills the first process that works on a slide."""

    def __init__(self, job):
        super().__init__(daemon=True)
        self.stem, self.killed, self.over = Path(job.claim), None, threading.Event()
        self.start()

    def run(self):
        while self.killed is None and not self.over.wait(0.005):
            for path in self.stem.parent.glob(f"{self.stem.name}.*"):
                with contextlib.suppress(OSError, ValueError):  # not written yet, or over already
                    self.killed = int(path.read_text())
                    psutil.Process(self.killed).kill()


def test_killed_worker_and_broken_slide_cost_nobody_else(scans, encoder, recipe, expected, pool, tmp_path):
    out = tmp_path / "out"
    killer = Killer(planned(scans, out, recipe=recipe).jobs[0])
    result, rows = extract(scans, encoder, out, pool)
    killer.over.set()
    killer.join()
    assert killer.killed is not None
    assert killer.killed not in pool.client.run(os.getpid).values()
    assert result.exit_code == 3, result.output
    done = dict.fromkeys(("victim", "middle", "small"), "done")
    assert {name: row["status"] for name, row in rows.items()} == {**done, "broken": "quarantined"}
    assert "is damaged" in rows["broken"]["message"]
    # Two processes, one of them killed, give what one process gives: equal bytes.
    assert found_in(out) == expected
    assert not list(out.rglob(".*"))


def test_same_command_again_does_only_what_is_missing(scans, encoder, expected, pool, tmp_path):
    out = tmp_path / "out"
    extract(scans, encoder, out, pool)
    (out / "small.h5").unlink()
    times = {path: path.stat().st_mtime_ns for path in out.glob("*.h5")}
    result, rows = extract(scans, encoder, out, pool)
    assert result.exit_code == 3
    assert {name: row["status"] for name, row in rows.items()} == {
        "victim": "already done",
        "middle": "already done",
        "small": "done",
        "broken": "quarantined",
    }
    assert found_in(out) == expected
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_killed_client_costs_the_slides_in_flight(scans, encoder, expected, pool, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "napari_mtlpath.cli.main", *words(scans, encoder, out, "--workers", "2")]
    client = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        until(lambda: (out / ".in-work").is_dir() and list((out / ".in-work").iterdir()), "a slide in work")
        children = psutil.Process(client.pid).children(recursive=True)
    finally:
        client.kill()
        client.wait()
    until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children), "no child left")
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.h5")}
    assert len(before) < len(expected), "the run was over before it was stopped"
    result, _ = extract(scans, encoder, out, pool)
    assert result.exit_code == 3, result.output
    assert found_in(out) == expected
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_interrupt_ends_the_run_with_a_sentence_and_keeps_what_is_done(
    scans, encoder, expected, pool, tmp_path, monkeypatch
):
    out = tmp_path / "out"

    def interrupted(*args, **options):
        for report in extraction(*args, **options):
            yield report
            if isinstance(report, SlideEnded):
                raise KeyboardInterrupt

    monkeypatch.setattr("napari_mtlpath.cohort.extract.extract", interrupted)
    stopped = CliRunner().invoke(app, words(scans, encoder, out, "--scheduler", pool.client.scheduler.address))
    assert stopped.exit_code == 130, stopped.output
    assert "the same command does what is missing" in stopped.stderr
    monkeypatch.undo()
    until(lambda: not any(pool.client.processing().values()), "nothing in work")
    result, _ = extract(scans, encoder, out, pool)
    assert result.exit_code == 3, result.output
    assert found_in(out) == expected


def test_interrupt_from_the_keyboard_never_reaches_a_worker(pool):
    masks = pool.client.run(lambda: signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))
    assert list(masks.values()) == [True, True]


def test_nothing_listens_beyond_this_machine(pool):
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = {
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_every_worker_comes_back_with_one_thread(pool):
    until(lambda: list(pool.client.nthreads().values()) == [1, 1], "two workers")
