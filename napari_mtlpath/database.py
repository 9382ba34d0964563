"""One SQLite file that survives a killed program and heals itself when it is damaged."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

logger = logging.getLogger(__name__)

BUSY_SECONDS = 30.0
"""How long to wait for another program or window that is writing."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a file keeps, and how dear it is.

    Attributes
    ----------
    name
        What it is called in sentences, such as "feature store".
    schema
        SQL that makes the tables where they are missing.
    version
        The schema's version.
    precious
        Whether it cannot be computed again. Then a write is synced (``synchronous=FULL``: it outlives a power cut,
        too), and a file of a newer program is refused. Otherwise in WAL mode a killed program loses nothing that
        `write` has returned for, and a power cut can lose the last transactions but never the file's consistency,
        which keeps fsync out of the caller's thread; a file of another version is moved aside.
    loss
        What it means for the user that a new file was begun; a sentence.
    refusal
        What is raised when the file does not answer.
    """

    name: str
    schema: str
    version: int
    precious: bool
    loss: str
    refusal: type[OSError]


class Database:
    """A connection in WAL mode behind a lock, for all threads; a damaged file is moved aside, never deleted.

    Parameters
    ----------
    path
        The file; its folder is made.
    kept
        What it holds.

    Attributes
    ----------
    notice
        A sentence for the user when a damaged file was moved aside, else an empty string.

    Examples
    --------
    >>> import tempfile
    >>> schema = "CREATE TABLE IF NOT EXISTS notes (text TEXT)"
    >>> kept = Kept(name="notes", schema=schema, version=1, precious=True, loss="None is shown.", refusal=OSError)
    >>> database = Database(Path(tempfile.mkdtemp()) / "notes.sqlite", kept)
    >>> _ = database.write(lambda connection: connection.execute("INSERT INTO notes VALUES ('a')"))
    >>> database.read(lambda connection: connection.execute("SELECT text FROM notes").fetchall())
    [('a',)]
    >>> database.close()
    """

    def __init__(self, path: Path, kept: Kept) -> None:
        self.path = path
        self.notice = ""
        self._kept = kept
        self._lock = threading.RLock()
        self._closed = False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = self._opened()

    def read(self, operation: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Run an operation that reads."""
        return self._run(operation)

    def write(self, operation: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Run an operation in one transaction: all of it is on disk when this returns, or nothing."""
        return self._run(lambda connection: _in_transaction(connection, operation))

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        with self._lock:
            self._closed = True
            self._connection.close()

    def _run(self, operation: Callable[[sqlite3.Connection], Answer]) -> Answer:
        with self._lock:
            if self._closed:
                raise self._kept.refusal(f"The {self._kept.name} {self.path.name} is closed.")
            try:
                return operation(self._connection)
            except (sqlite3.OperationalError, sqlite3.ProgrammingError, sqlite3.IntegrityError) as error:
                raise self._refusal(error) from error
            except sqlite3.DatabaseError as error:  # the file was damaged while it was open
                self._connection.close()
                self._move_aside(error)
                self._connection = self._opened()
                return operation(self._connection)

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.OperationalError as error:  # locked, read-only or full: the file itself may be in order
            raise self._refusal(error) from error
        except sqlite3.DatabaseError as error:
            self._move_aside(error)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={'FULL' if self._kept.precious else 'NORMAL'}")
            self._check_version(connection.execute("PRAGMA user_version").fetchone()[0])
            connection.executescript(self._kept.schema)
            connection.execute(f"PRAGMA user_version={self._kept.version}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _check_version(self, found: int) -> None:
        if not self._kept.precious and found not in (0, self._kept.version):
            raise sqlite3.DatabaseError(f"it was made by another version of the program, schema {found}")
        if found > self._kept.version:
            raise sqlite3.OperationalError("it was written by a newer version of this program; update this one")

    def _refusal(self, error: sqlite3.Error) -> OSError:
        return self._kept.refusal(
            f"The {self._kept.name} {self.path} does not answer ({error}). Check free space and permissions of its "
            "folder."
        )

    def _move_aside(self, error: sqlite3.Error) -> None:
        aside = f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
        for suffix in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.replace(self.path.with_name(aside + suffix))
        self.notice = (
            f"The {self._kept.name} {self.path.name} could not be read ({error}). It was kept as {aside} and a new one "
            f"begun: {self._kept.loss}"
        )
        logger.warning("%s", self.notice)


def _in_transaction(connection: sqlite3.Connection, operation: Callable[[sqlite3.Connection], Answer]) -> Answer:
    connection.execute("BEGIN IMMEDIATE")
    try:
        answer = operation(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back on a full disk
            connection.execute("ROLLBACK")
        raise
    return answer
