"""The embeddings of slides being worked on: tile by tile, in any order, safe against a killed program."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.database import Database
from napari_mtlpath.features.database import EMBEDDINGS
from napari_mtlpath.features.key import FeatureKey
from napari_mtlpath.folders import cache_folder

DEFAULT_MAX_BYTES = 20 * 2**30


class FeatureStore:
    """Embeddings on disk, in one SQLite file. All methods are thread-safe; several processes may share the file.

    What `put` has returned for is found again after the program was killed. A damaged file is moved aside.

    Parameters
    ----------
    path
        The file. None is ``features.sqlite`` in the user's cache.
    max_bytes
        Size of all embeddings beyond which the slides unused for longest are dropped.
    wall_clock
        Seconds since the epoch, for when a slide was last used.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path if path is not None else cache_folder() / "features.sqlite"
        self.max_bytes = max_bytes
        self._wall_clock = wall_clock
        self._database = Database(self.path, EMBEDDINGS)

    @property
    def notice(self) -> str:
        """A sentence for the user when a damaged file was moved aside, else an empty string."""
        return self._database.notice

    def put(self, key: FeatureKey, indices: NDArray[np.integer], features: NDArray[np.floating]) -> None:
        """Save embeddings; they are safe when this returns. A tile saved again is replaced.

        Parameters
        ----------
        key
            What the embeddings belong to.
        indices
            Tiles of the grid, [n].
        features
            Embeddings, [n, feature]; kept as float32.

        Raises
        ------
        ValueError
            If shapes disagree, the length differs from what the key holds, or a value is not finite.
        FeatureStoreError
            If the disk refuses.
        """
        vectors = np.ascontiguousarray(features, dtype="<f4")
        if vectors.ndim != 2 or len(vectors) != len(indices):
            raise ValueError(f"Expected one embedding per tile; found {len(indices)} tiles and shape {vectors.shape}.")
        if not np.isfinite(vectors).all():
            raise ValueError("Embeddings must be finite; found NaN or infinity. Check the encoder's weights.")
        if len(vectors) == 0:
            return
        rows = [(int(index), vector.tobytes()) for index, vector in zip(indices, vectors, strict=True)]
        self._database.write(lambda connection: self._put(connection, key, rows))

    def get(
        self, key: FeatureKey, indices: NDArray[np.integer] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the tiles known (all, or those among `indices`), ascending, and their embeddings [n, feature]."""
        length, rows = self._database.read(lambda connection: _rows(connection, key))
        rows = [row for row in rows if len(row[1]) == 4 * length]
        tiles = np.array([tile for tile, _ in rows], dtype=np.int64)
        joined = b"".join(blob for _, blob in rows)
        features = np.frombuffer(joined, dtype="<f4").reshape(len(rows), length).astype(np.float32)
        if len(rows) > 0:
            self._database.write(lambda connection: self._touch(connection, key))
        if indices is None:
            return tiles, features
        asked = np.isin(tiles, indices)
        return tiles[asked], features[asked]

    def count(self, key: FeatureKey) -> int:
        """Return how many tiles have an embedding."""
        query = "SELECT COUNT(*) FROM tiles JOIN bags USING (bag) WHERE key = ? AND feature IS NOT NULL"
        return self._database.read(lambda connection: int(connection.execute(query, (key.text,)).fetchone()[0]))

    def mark_unreadable(self, key: FeatureKey, indices: NDArray[np.integer]) -> None:
        """Record tiles that could not be read; an embedding that is already there stays."""
        query = "INSERT OR IGNORE INTO tiles (bag, tile, feature) VALUES (?, ?, NULL)"

        def mark(connection: sqlite3.Connection) -> None:
            bag = self._touch(connection, key)
            connection.executemany(query, [(bag, int(index)) for index in indices])

        self._database.write(mark)

    def unreadable(self, key: FeatureKey) -> NDArray[np.int64]:
        """Return the tiles recorded as unreadable, ascending."""
        query = "SELECT tile FROM tiles JOIN bags USING (bag) WHERE key = ? AND feature IS NULL ORDER BY tile"
        rows = self._database.read(lambda connection: connection.execute(query, (key.text,)).fetchall())
        return np.array([tile for (tile,) in rows], dtype=np.int64)

    def forget(self, key: FeatureKey) -> None:
        """Drop everything known under a key."""
        self._database.write(lambda connection: _drop(connection, key.text))

    def keys(self) -> tuple[str, ...]:
        """Return the texts of all keys, least recently used first."""
        query = "SELECT key FROM bags ORDER BY last_used, bag"
        return self._database.read(lambda connection: tuple(key for (key,) in connection.execute(query)))

    @property
    def nbytes(self) -> int:
        """Size of all embeddings together."""
        return self._database.read(_total)

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        self._database.close()

    def _put(self, connection: sqlite3.Connection, key: FeatureKey, rows: list[tuple[int, bytes]]) -> None:
        bag = self._touch(connection, key)
        (length,) = connection.execute("SELECT length FROM bags WHERE bag = ?", (bag,)).fetchone()
        given = len(rows[0][1]) // 4
        if length not in (0, given):
            raise ValueError(f"The store holds embeddings of length {length} under this key; found {given}.")
        known = "SELECT COUNT(*) FROM tiles WHERE bag = ? AND feature IS NOT NULL AND tile = ?"
        replaced = sum(connection.execute(known, (bag, tile)).fetchone()[0] for tile, _ in rows)
        connection.executemany(
            "INSERT OR REPLACE INTO tiles (bag, tile, feature) VALUES (?, ?, ?)", [(bag, *row) for row in rows]
        )
        added = (len(rows) - replaced) * 4 * given
        connection.execute("UPDATE bags SET length = ?, bytes = bytes + ? WHERE bag = ?", (given, added, bag))
        self._prune(connection, keep=key.text)

    def _touch(self, connection: sqlite3.Connection, key: FeatureKey) -> int:
        """Return the number of a key's bag, made where missing, and note that it is in use."""
        connection.execute(
            "INSERT INTO bags (key, last_used) VALUES (?, ?) "
            "ON CONFLICT (key) DO UPDATE SET last_used = excluded.last_used",
            (key.text, self._wall_clock()),
        )
        return int(connection.execute("SELECT bag FROM bags WHERE key = ?", (key.text,)).fetchone()[0])

    def _prune(self, connection: sqlite3.Connection, *, keep: str) -> None:
        excess = _total(connection) - self.max_bytes
        if excess <= 0:
            return
        oldest = "SELECT key, bytes FROM bags WHERE key != ? ORDER BY last_used, bag"
        for key, size in connection.execute(oldest, (keep,)).fetchall():
            _drop(connection, key)
            excess -= size
            if excess <= 0:
                return


def _rows(connection: sqlite3.Connection, key: FeatureKey) -> tuple[int, list[tuple[int, bytes]]]:
    found = connection.execute("SELECT bag, length FROM bags WHERE key = ?", (key.text,)).fetchone()
    if found is None:
        return 0, []
    query = "SELECT tile, feature FROM tiles WHERE bag = ? AND feature IS NOT NULL ORDER BY tile"
    return int(found[1]), connection.execute(query, (found[0],)).fetchall()


def _drop(connection: sqlite3.Connection, key: str) -> None:
    connection.execute("DELETE FROM tiles WHERE bag = (SELECT bag FROM bags WHERE key = ?)", (key,))
    connection.execute("DELETE FROM bags WHERE key = ?", (key,))


def _total(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT COALESCE(SUM(bytes), 0) FROM bags").fetchone()[0])
