"""What was labelled is found again: after a kill, beside another window, on a full disk, in a damaged file."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from napari_mtlpath.review.events import LabelEvent, Origin, SlideLabelled, TilesLabelled
from napari_mtlpath.review.journal import Journal, JournalError

WRITER = """
import sys
from pathlib import Path
from napari_mtlpath.review.events import LabelEvent, Origin, TilesLabelled
from napari_mtlpath.review.journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(10_000):
    act = TilesLabelled(corners=((number, 0),), side=8, value=1.0, origin=Origin.TILE)
    journal.append([LabelEvent(slide="s", task="t", act=act)])
    print(number, flush=True)
"""

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from napari_mtlpath.review.events import LabelEvent, SlideLabelled
from napari_mtlpath.review.journal import Journal, JournalError
journal = Journal(Path(sys.argv[1]))
journal.append([LabelEvent(slide="s", task="kept", act=SlideLabelled(value=1.0))])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
waiting = LabelEvent(slide="s", task="x" * 100_000, act=SlideLabelled(value=0.0))
try:
    journal.append([waiting])
except JournalError as error:
    print("refused:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append([waiting])
print("tasks:", *sorted(entry.event.task[:5] for entry in journal.read()))
"""


def _tile(number: int, task: str = "t", maker: str = "") -> LabelEvent:
    act = TilesLabelled(corners=((number, 0),), side=8, value=1.0, origin=Origin.TILE)
    return LabelEvent(slide="s", task=task, act=act, maker=maker)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.sqlite"


def test_what_was_written_is_read_in_order(path: Path) -> None:
    journal = Journal(path)
    events = [_tile(number) for number in range(3)]
    journal.append(events[:2])
    journal.append(events[2:])
    journal.close()

    again = Journal(path)
    assert [entry.event for entry in again.read(slide="s", task="t")] == events
    assert [entry.number for entry in again.read()] == [1, 2, 3]
    assert again.read(slide="other") == ()
    assert len(again.read(after=2)) == 1
    assert again.latest() == 3
    again.close()


def test_an_event_that_was_written_already_is_not_written_twice(path: Path) -> None:
    journal = Journal(path)
    event = _tile(0)
    journal.append([event])
    journal.append([event, _tile(1)])
    assert len(journal.read()) == 2
    journal.close()


def test_nothing_in_the_journal_can_be_changed_or_deleted(path: Path) -> None:
    journal = Journal(path)
    journal.append([_tile(0)])
    foreign = sqlite3.connect(path)
    for query in ("DELETE FROM events", "UPDATE events SET task = 'x'"):
        with pytest.raises(sqlite3.IntegrityError, match="only added to"):
            foreign.execute(query)
    foreign.close()
    journal.close()


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is a signal of POSIX systems")
def test_a_killed_program_loses_no_label_that_was_acknowledged(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [int(next(writer.stdout)) for _ in range(12)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout]
    journal = Journal(path)
    found = [entry.event.act.corners[0][0] for entry in journal.read()]
    assert found == list(range(len(found)))
    assert len(found) >= len(acknowledged) >= 12
    journal.append([_tile(0)])
    journal.close()


@pytest.mark.skipif(os.name != "posix", reason="limits of file sizes are POSIX")
def test_a_full_disk_refuses_in_a_sentence_and_takes_the_label_later(path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    refused, tasks = run.stdout.strip().splitlines()
    assert "Check free space" in refused
    assert tasks == "tasks: kept xxxxx"


def test_two_windows_that_write_at_once_lose_nothing(path: Path) -> None:
    journals = [Journal(path), Journal(path)]

    def write(journal: Journal, maker: str) -> None:
        for number in range(25):
            journal.append([_tile(number, maker=maker)])

    threads = [threading.Thread(target=write, args=(journal, str(n))) for n, journal in enumerate(journals)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for maker in "01":
        mine = [entry.event.act.corners[0][0] for entry in journals[0].read() if entry.event.maker == maker]
        assert mine == list(range(25))
    for journal in journals:
        journal.close()


def test_a_file_that_is_no_journal_is_kept_aside_and_said(path: Path) -> None:
    path.write_bytes(b"this is no database, but somebody may miss it" * 100)
    journal = Journal(path)
    assert "was kept as labels.sqlite.damaged-" in journal.notice
    assert [kept.read_bytes()[:4] for kept in path.parent.glob("labels.sqlite.damaged-*")] == [b"this"]
    journal.append([_tile(0)])
    assert journal.latest() == 1
    journal.close()


def test_a_journal_of_a_newer_version_is_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(JournalError, match="newer version"):
        Journal(path)
    assert not list(path.parent.glob("*.damaged-*"))


def test_a_row_that_means_nothing_is_left_out(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(path)
    journal.append([_tile(0)])
    foreign = sqlite3.connect(path)
    foreign.execute(
        "INSERT INTO events (key, at, author, maker, slide, task, what, act) VALUES ('k','','','','s','t','?','{}')"
    )
    foreign.commit()
    foreign.close()
    assert len(journal.read()) == 1
    assert "is left out" in caplog.text
    journal.close()


def test_a_closed_journal_says_so(path: Path) -> None:
    journal = Journal(path)
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.append([LabelEvent(slide="s", task="t", act=SlideLabelled(value=1.0))])
