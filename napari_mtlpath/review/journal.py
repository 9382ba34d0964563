"""The journal of labels: an append-only SQLite file that survives a killed program and is shared by all windows."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_mtlpath.database import Database, Kept
from napari_mtlpath.folders import data_folder
from napari_mtlpath.review.events import LabelEvent, act_from_json, act_to_json

logger = logging.getLogger(__name__)

JOURNAL_FILE = "labels.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, at TEXT NOT NULL, author TEXT NOT NULL,
    maker TEXT NOT NULL, slide TEXT NOT NULL, task TEXT NOT NULL, what TEXT NOT NULL, act TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS of_slide_and_task ON events (slide, task);
CREATE INDEX IF NOT EXISTS of_kind ON events (what);
CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the journal is only added to'); END;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the journal is only added to'); END;
"""

COLUMNS = "key, at, author, maker, slide, task, what, act"


class JournalError(OSError):
    """Labels could not be written or read, such as on a full disk."""


LABELS = Kept(
    name="journal of labels",
    schema=SCHEMA,
    version=1,
    precious=True,
    loss="labels made before are not shown. Import a GeoJSON file that you exported, or restore a backup of the file.",
    refusal=JournalError,
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An event with its place in the journal, which is the same for every window."""

    number: int
    event: LabelEvent


class Journal:
    """Labels of all slides and tasks, in the order in which they were written. All methods are thread-safe.

    What :meth:`append` has returned for is found again after the program was killed or the power failed
    (``synchronous=FULL``). Nothing is ever changed or deleted. Methods touch the disk: not for the GUI thread.

    Parameters
    ----------
    path
        The file; ``labels.sqlite`` in the user's data folder by default. A file that is no journal is moved aside.

    Examples
    --------
    >>> import tempfile
    >>> from napari_mtlpath.review.events import SlideLabelled
    >>> journal = Journal(Path(tempfile.mkdtemp()) / "labels.sqlite")
    >>> journal.append([LabelEvent(slide="ab", task="eosinophils", act=SlideLabelled(value=1.0))])
    >>> journal.read(task="eosinophils")[0].event.act.value
    1.0
    >>> journal.close()
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path if path is not None else data_folder() / JOURNAL_FILE
        self._database = Database(self.path, LABELS)

    @property
    def notice(self) -> str:
        """A sentence for the user when a damaged file was moved aside, else an empty string."""
        return self._database.notice

    def append(self, events: Sequence[LabelEvent]) -> None:
        """Write events, all or none; they are safe when this returns. An event that is there already is left out.

        Raises
        ------
        JournalError
            If the disk refuses; nothing was written then.
        """
        rows = [_row(event) for event in events]
        query = f"INSERT OR IGNORE INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        if rows:
            self._database.write(lambda connection: connection.executemany(query, rows))

    def read(
        self, *, slide: str | None = None, task: str | None = None, what: str | None = None, after: int = 0
    ) -> tuple[Entry, ...]:
        """Return events in order, those that fit.

        Parameters
        ----------
        slide, task, what
            A slide's fingerprint, a task's name, a kind of act; None for all.
        after
            Only events with a higher number.

        Raises
        ------
        JournalError
            If the file cannot be read.
        """
        conditions = {"slide": slide, "task": task, "what": what}
        asked = {column: value for column, value in conditions.items() if value is not None}
        where = "".join(f" AND {column} = ?" for column in asked)
        query = f"SELECT number, {COLUMNS} FROM events WHERE number > ?{where} ORDER BY number"
        rows = self._database.read(lambda connection: connection.execute(query, (after, *asked.values())).fetchall())
        return tuple(entry for row in rows if (entry := _entry(row)) is not None)

    def latest(self) -> int:
        """Return the number of the newest event; 0 in an empty journal."""
        query = "SELECT COALESCE(MAX(number), 0) FROM events"
        return self._database.read(lambda connection: int(connection.execute(query).fetchone()[0]))

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        self._database.close()


def _row(event: LabelEvent) -> tuple[str, ...]:
    return (
        event.key,
        event.at,
        event.author,
        event.maker,
        event.slide,
        event.task,
        event.act.what,
        act_to_json(event.act),
    )


def _entry(row: tuple[int, str, str, str, str, str, str, str, str]) -> Entry | None:
    number, key, at, author, maker, slide, task, _, act = row
    try:
        happened = act_from_json(act)
    except ValueError as error:
        logger.warning("Event %d of the journal of labels is left out: %s", number, error)
        return None
    event = LabelEvent(key=key, at=at, author=author, maker=maker, slide=slide, task=task, act=happened)
    return Entry(number=number, event=event)
