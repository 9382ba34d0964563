"""The file of the feature store: its tables, and what is said when it fails."""

from napari_mtlpath.database import Kept

SCHEMA = """
CREATE TABLE IF NOT EXISTS bags (
    bag INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, length INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0, last_used REAL NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS tiles (
    bag INTEGER NOT NULL, tile INTEGER NOT NULL, feature BLOB, PRIMARY KEY (bag, tile)
) WITHOUT ROWID;
"""


class FeatureStoreError(OSError):
    """Embeddings could not be read or written, such as on a full disk."""


EMBEDDINGS = Kept(
    name="feature store",
    schema=SCHEMA,
    version=1,
    precious=False,
    loss="embeddings are computed anew.",
    refusal=FeatureStoreError,
)
