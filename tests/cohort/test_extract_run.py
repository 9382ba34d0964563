"""The run with a scripted pool of workers: who is blamed, what is tried again, and what stops everything."""

from types import SimpleNamespace

import pytest
from cohort_parts import planned, write_slides
from distributed import KilledWorker
from typer.testing import CliRunner

from napari_mtlpath.cli.main import app
from napari_mtlpath.cohort.claims import claim
from napari_mtlpath.cohort.cluster import Pool, _thread_notes, workers_at
from napari_mtlpath.cohort.extract import MOST_TRIES, SchedulerLost, extract
from napari_mtlpath.cohort.ledger import Ledger, Status
from napari_mtlpath.cohort.plan import sweep
from napari_mtlpath.cohort.reports import NoWorkers, SlideEnded, TilesDone, WorkerDied
from napari_mtlpath.cohort.worker import Outcome, OutputRefused

DONE = Outcome(status=Status.DONE, tiles=3, size=9)
KILLED = KilledWorker("task", SimpleNamespace(address="here"), 0)


class ScriptedClient:
    """Answers each submitted slide with the next thing of its script; `leave` also leaves a claim behind."""

    def __init__(self, script, *, workers=1):
        self.script, self.workers, self.status = script, workers, "running"
        self.handler, self.cancelled = None, []

    def subscribe_topic(self, topic, handler):
        self.handler = handler

    def unsubscribe_topic(self, topic):
        self.handler = None

    def nthreads(self):
        return dict.fromkeys(range(self.workers), 1)

    def submit(self, function, job, *, key, pure, retries):
        return ScriptedFuture(self, key, job)

    def cancel(self, futures, force):
        self.cancelled = futures


class ScriptedFuture:
    def __init__(self, client, key, job):
        self.client, self.key, self.job = client, key, job

    def add_done_callback(self, callback):
        answer = self.client.script(self.job)
        self.status = "finished" if isinstance(answer, Outcome) else "error" if answer else "cancelled"
        self.answer = answer
        callback(self)

    def result(self):
        return self.answer

    def exception(self):
        return self.answer


@pytest.fixture
def plan(tmp_path):
    return planned(write_slides(tmp_path / "scans", a=300, b=300, c=300), tmp_path / "out")


def run(plan, client, tmp_path):
    out = tmp_path / "out"
    with Ledger(out) as ledger:
        reports = list(extract(plan, Pool(client=client), out=out, ledger=ledger))
        return reports, ledger.entries()


def name(job):
    return job.target.rsplit("/", 1)[-1]


def test_deaths_are_blamed_on_the_slide_that_was_open(plan, tmp_path):
    innocent = []

    def script(job):
        if name(job) == "a.h5":
            claim(job.claim)
            return KILLED
        if name(job) == "b.h5" and len(innocent) < 5:  # waited where a worker died
            innocent.append(job)
            return KILLED
        return DONE

    reports, entries = run(plan, ScriptedClient(script, workers=2), tmp_path)
    assert {target: entry.status.value for target, entry in entries.items()} == {
        "a.h5": "quarantined",
        "b.h5": "done",
        "c.h5": "done",
    }
    assert "killed its worker 3 times" in entries["a.h5"].reason
    assert sum(isinstance(report, WorkerDied) for report in reports) == 2 + 5


def test_slide_whose_every_worker_dies_before_it_begins_is_given_up(plan, tmp_path):
    _, entries = run(plan, ScriptedClient(lambda job: KILLED if name(job) == "a.h5" else DONE), tmp_path)
    assert f"Every one of the {MOST_TRIES} workers" in entries["a.h5"].reason


def test_slides_that_the_scheduler_forgot_are_handed_out_again(plan, tmp_path):
    forgotten = []

    def script(job):
        if len(forgotten) < 2:
            forgotten.append(job)
            return None
        return DONE

    _, entries = run(plan, ScriptedClient(script), tmp_path)
    assert {entry.status for entry in entries.values()} == {Status.DONE}


def test_lost_scheduler_ends_the_run_and_keeps_what_is_done(plan, tmp_path):
    client = ScriptedClient(lambda job: DONE)

    def script(job):
        if name(job) == name(plan.jobs[0]):
            return DONE
        client.status = "closed"
        return None

    client.script = script
    with pytest.raises(SchedulerLost, match="same command again"):
        run(plan, client, tmp_path)
    with Ledger(tmp_path / "out") as ledger:
        assert list(ledger.entries()) == [name(plan.jobs[0])]


def test_full_disk_stops_the_run(plan, tmp_path):
    client = ScriptedClient(lambda job: OutputRefused("No space is left."))
    with pytest.raises(OutputRefused):
        run(plan, client, tmp_path)
    assert client.handler is None


def test_no_worker_gets_a_second_slide_and_stopping_takes_slides_back(plan, tmp_path):
    client = ScriptedClient(lambda job: DONE, workers=2)
    held = []

    class NeverDone(ScriptedFuture):
        def add_done_callback(self, callback):
            held.append(self)
            client.handler((0.0, {"target": plan.jobs[0].target, "known": 1, "total": 5}))

    client.submit = lambda function, job, *, key, pure, retries: NeverDone(client, key, job)
    out = tmp_path / "out"
    with Ledger(out) as ledger:
        reports = extract(plan, Pool(client=client), out=out, ledger=ledger)
        assert [next(reports), next(reports)] == [TilesDone(slide=plan.jobs[0].slide, known=1, total=5)] * 2
        assert len(held) == 2
        reports.close()
    assert client.cancelled == held


def test_missing_workers_are_said_once(plan, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_mtlpath.cohort.extract.WORKERLESS_SECONDS", 0.0)
    monkeypatch.setattr("napari_mtlpath.cohort.extract.LISTENING_SECONDS", 0.01)
    monkeypatch.setattr("napari_mtlpath.cohort.extract.COUNTING_SECONDS", 0.0)
    client = ScriptedClient(lambda job: DONE, workers=0)
    counts = []

    def nthreads():
        counts.append(1)
        return {} if len(counts) < 5 else {"here": 1}

    client.nthreads = nthreads
    reports, entries = run(plan, client, tmp_path)
    assert sum(isinstance(report, NoWorkers) for report in reports) == 1
    assert sum(isinstance(report, SlideEnded) for report in reports) == len(entries) == 3


@pytest.mark.parametrize(
    ("address", "warned"),
    [
        ("tcp://127.0.0.1:8786", False),
        ("tcp://localhost:8786", False),
        ("tls://10.0.0.1:8786", False),
        ("tcp://10.0.0.1:8786", True),
        ("tcp://0.0.0.0:8786", True),
    ],
)
def test_open_port_of_a_foreign_scheduler_is_warned_of(address, warned, monkeypatch):
    class Connected(ScriptedClient):
        dashboard_link = "http://there/status"

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

    monkeypatch.setattr("distributed.Client", lambda address, timeout: Connected(None))
    with workers_at(address) as pool:
        assert any("can run code on its workers" in note for note in pool.notes) == warned
        assert pool.dashboard == "http://there/status"


def test_workers_with_several_threads_are_pointed_out(monkeypatch):
    assert "--nthreads 1" in _thread_notes({"a": 1, "b": 4})[0]
    assert _thread_notes({"a": 1}) == ()


def test_scheduler_that_does_not_answer_is_said_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_mtlpath.cohort.cluster.CONNECTING_SECONDS", 0.2)
    scans = write_slides(tmp_path / "scans", a=300)
    words = ["extract", str(scans), "--encoder", "colour-stats", "--tile-um", "16", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*words, "--scheduler", "tcp://127.0.0.1:9"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "No dask scheduler answers at 'tcp://127.0.0.1:9'" in result.stderr
    result = CliRunner().invoke(app, [*words, "--scheduler", "tcp://127.0.0.1:9", "--workers", "2"])
    assert "not both" in result.stderr


def test_every_fault_of_a_slide_table_has_a_line_of_its_own(tmp_path):
    (tmp_path / "slides.csv").write_text("FILENAME\nno\x1b[2J.svs\nnone.svs\n")
    words = ["extract", str(tmp_path / "slides.csv"), "--encoder", "colour-stats", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert [line.startswith("Error: slides.csv, column 'FILENAME'") for line in result.stderr.splitlines()] == [
        True
    ] * 2
    assert "\x1b" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_only_what_killed_workers_left_is_swept_away(tmp_path):
    kept = [tmp_path / "a.h5", tmp_path / "sub" / ".mine.partial-copy.h5", tmp_path / ".hidden"]
    left = [tmp_path / "sub" / f".a b.partial-{'0f' * 16}.h5", tmp_path / ".in-work" / "x.1"]
    for path in (*kept, *left):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    sweep(tmp_path)
    assert [path.exists() for path in (*kept, *left)] == [True] * 3 + [False] * 2
    assert not (tmp_path / ".in-work").exists()
