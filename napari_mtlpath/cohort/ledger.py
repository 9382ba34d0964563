"""What is done and what is broken, on disk and apart from dask: it outlives workers, scheduler and client."""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

NAME = "extract.sqlite"
VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    event INTEGER PRIMARY KEY,
    target TEXT NOT NULL,
    slide TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    recipe TEXT NOT NULL,
    encoder TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    tiles INTEGER NOT NULL,
    unreadable INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_target ON events (target, event);
"""


class Status(StrEnum):
    """How work on a slide ended."""

    DONE = "done"
    QUARANTINED = "quarantined"


class LedgerError(OSError):
    """The ledger cannot be used; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How work on one slide ended.

    Attributes
    ----------
    target
        The feature file, relative to the output folder: the slide's identity in a cohort.
    slide
        Path of the slide.
    fingerprint
        The slide's content.
    recipe, encoder
        Digest of what was done, and name of the encoder with the beginning of its digest.
    status, reason
        The end, and a sentence where the slide is broken.
    tiles, unreadable
        Tiles with features, and tissue tiles that could not be read.
    size
        Bytes of the feature file.
    """

    target: str
    slide: str
    fingerprint: str
    recipe: str
    encoder: str
    status: Status
    reason: str = ""
    tiles: int = 0
    unreadable: int = 0
    size: int = 0


class Ledger:
    """An append-only SQLite file in the output folder, held by one program at a time.

    Every entry is on disk when :meth:`add` returns (``synchronous=FULL``). The file stays locked until it is closed or
    the program dies, so that two runs never write into one folder; a rollback journal, not WAL, because output folders
    lie on network drives.

    Parameters
    ----------
    folder
        The output folder; made where missing.

    Attributes
    ----------
    notice
        A sentence where a damaged ledger was moved aside, else an empty string.

    Examples
    --------
    >>> import tempfile
    >>> entry = Entry(target="a.h5", slide="a.svs", fingerprint="f", recipe="r", encoder="e", status=Status.DONE)
    >>> with Ledger(Path(tempfile.mkdtemp())) as ledger:
    ...     ledger.add(entry)
    ...     ledger.entries()["a.h5"] == entry
    True
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.notice = ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = self._opened()
        except sqlite3.OperationalError as error:
            raise self._refusal(error) from error
        except sqlite3.DatabaseError as error:
            aside = self.path.with_name(f"{NAME}.damaged-{datetime.now(UTC):%Y%m%d-%H%M%S}")
            self.path.replace(aside)
            self.notice = f"The ledger {self.path} could not be read ({error}); it was moved to {aside.name}."
            self._connection = self._opened()

    def add(self, entry: Entry) -> None:
        """Append an entry; it is safe when this returns."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        values = (
            *(entry.target, entry.slide, entry.fingerprint, entry.recipe, entry.encoder, entry.status.value),
            *(entry.reason, entry.tiles, entry.unreadable, entry.size, now),
        )
        columns = "target, slide, fingerprint, recipe, encoder, status, reason, tiles, unreadable, bytes, at"
        query = f"INSERT INTO events ({columns}) VALUES ({', '.join('?' * len(values))})"
        try:
            with self._connection:
                self._connection.execute(query, values)
        except sqlite3.OperationalError as error:
            raise self._refusal(error) from error

    def entries(self) -> dict[str, Entry]:
        """Return the last entry of every feature file."""
        query = (
            "SELECT target, slide, fingerprint, recipe, encoder, status, reason, tiles, unreadable, bytes FROM events "
            "WHERE event IN (SELECT MAX(event) FROM events GROUP BY target)"
        )
        return {row[0]: _entry(row) for row in self._connection.execute(query)}

    def close(self) -> None:
        """Let go of the file. Closing twice is harmless."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=1.0, check_same_thread=False)
        try:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.execute("PRAGMA synchronous=FULL")
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, VERSION):
                raise sqlite3.DatabaseError(f"it was made by another version of the program, schema {found}")
            connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA user_version={VERSION}")  # a write: from here on the file is locked
            connection.commit()
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _refusal(self, error: sqlite3.Error) -> LedgerError:
        if "locked" in str(error):
            return LedgerError(
                f"Another program works in {self.path.parent}: its ledger {NAME} is locked. Wait for it, or choose "
                "another folder."
            )
        return LedgerError(
            f"The ledger {self.path} cannot be written ({error}). Check free space and permissions, then run the same "
            "command again."
        )


def _entry(row: tuple) -> Entry:
    target, slide, fingerprint, recipe, encoder, status, reason, tiles, unreadable, size = row
    return Entry(
        target=target,
        slide=slide,
        fingerprint=fingerprint,
        recipe=recipe,
        encoder=encoder,
        status=Status(status),
        reason=reason,
        tiles=tiles,
        unreadable=unreadable,
        size=size,
    )
