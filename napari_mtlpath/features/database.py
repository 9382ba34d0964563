"""One SQLite file that survives a killed program and heals itself when it is damaged."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

logger = logging.getLogger(__name__)

BUSY_SECONDS = 30.0  # another process (a `predict` beside the viewer) may be writing

Answer = TypeVar("Answer")


class FeatureStoreError(OSError):
    """Embeddings could not be read or written, such as on a full disk."""


class Database:
    """A connection in WAL mode behind a lock; a damaged file is moved aside, never deleted.

    ``synchronous=NORMAL``: in WAL mode a killed program loses nothing that `write` has returned for; a power cut can
    lose the last transactions but never the file's consistency. That is right for what can be computed again, and it
    keeps fsync out of the inference thread.

    Parameters
    ----------
    path
        The file; its folder is made.
    schema
        SQL that makes the tables where they are missing.
    version
        The schema's version; a file of another version is moved aside.

    Attributes
    ----------
    notice
        A sentence for the user when a damaged file was moved aside, else an empty string.
    """

    def __init__(self, path: Path, *, schema: str, version: int) -> None:
        self.path = path
        self.notice = ""
        self._schema = schema
        self._version = version
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
                raise FeatureStoreError(f"The feature store {self.path.name} is closed.")
            try:
                return operation(self._connection)
            except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
                raise self._refusal(error) from error
            except sqlite3.DatabaseError as error:
                self._connection.close()
                self._move_aside(error)
                self._connection = self._opened()
                return operation(self._connection)

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.OperationalError as error:
            # Locked, read-only or full: the file itself may be in order, so it stays.
            raise self._refusal(error) from error
        except sqlite3.DatabaseError as error:
            self._move_aside(error)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, self._version):
                raise sqlite3.DatabaseError(f"it was made by another version of the program, schema {found}")
            connection.executescript(self._schema)
            connection.execute(f"PRAGMA user_version={self._version}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _refusal(self, error: sqlite3.Error) -> FeatureStoreError:
        return FeatureStoreError(
            f"The feature store {self.path} does not answer ({error}). Check free space and permissions of its folder."
        )

    def _move_aside(self, error: sqlite3.Error) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        aside = f"{self.path.name}.damaged-{stamp}"
        for suffix in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.replace(self.path.with_name(aside + suffix))
        self.notice = (
            f"The feature store {self.path.name} could not be read ({error}). It was moved to {aside}; "
            "embeddings are computed anew."
        )
        logger.warning("%s", self.notice)


def _in_transaction(connection: sqlite3.Connection, operation: Callable[[sqlite3.Connection], Answer]) -> Answer:
    connection.execute("BEGIN IMMEDIATE")
    try:
        answer = operation(connection)
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
    return answer
