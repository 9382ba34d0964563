"""The ledger: every entry survives, and one program at a time holds it."""

import sqlite3
from dataclasses import replace

import pytest

from napari_mtlpath.cohort.ledger import NAME, Entry, Ledger, LedgerError, Status

DONE = Entry(target="a.h5", slide="a.svs", fingerprint="f", recipe="r", encoder="e", status=Status.DONE, size=3)
BROKEN = replace(DONE, target="b.h5", status=Status.QUARANTINED, reason="It is 'damaged'; --drop")


def test_last_entry_of_each_file_counts_and_earlier_ones_are_kept(tmp_path):
    with Ledger(tmp_path) as ledger:
        for entry in (DONE, BROKEN, replace(DONE, size=4)):
            ledger.add(entry)
    with Ledger(tmp_path) as ledger:
        assert ledger.entries() == {"a.h5": replace(DONE, size=4), "b.h5": BROKEN}
    with sqlite3.connect(tmp_path / NAME) as connection:
        assert connection.execute("SELECT COUNT(*) FROM events").fetchone() == (3,)


def test_second_program_is_kept_out_until_the_first_lets_go(tmp_path, monkeypatch):
    with Ledger(tmp_path), pytest.raises(LedgerError, match="Another program works in"):
        Ledger(tmp_path)
    Ledger(tmp_path).close()


def test_damaged_ledger_is_moved_aside_and_said(tmp_path):
    (tmp_path / NAME).write_bytes(b"no database " * 100)
    with Ledger(tmp_path) as ledger:
        assert ledger.entries() == {}
        assert "moved to extract.sqlite.damaged-" in ledger.notice
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1


def test_folder_that_cannot_be_made_is_said_in_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Ledger(tmp_path / "file" / "out")
