"""A slide of which the left part is stained, a model that cuts its tiles, and embeddings, for tests of labels."""

from types import SimpleNamespace

import numpy as np
from session_fakes import FakeSlide, fake_model

from napari_mtlpath.features.store import FeatureStore

SIDE = 96
"""Pixels of a tile's side: 48 um at 0.5 um per pixel."""


class LabelSlide(FakeSlide):
    """1,920 x 2,880 px, 20 x 30 tiles, of which the left two thirds hold tissue."""

    colour = "native"

    def __init__(self, fingerprint="a" * 64, *, name="a.svs", mpp=(0.5, 0.5)):
        super().__init__(fingerprint, name=name, mpp=mpp, shape=(20 * SIDE, 30 * SIDE))
        self.reads = []

    def tile_shape(self, level):
        return (256, 256)

    def thumbnail(self, max_side=1024):
        picture = np.full((680, 1020, 3), 245, np.uint8)
        picture[:, :680] = (200, 120, 170)
        return picture

    def read_square(self, y, x, side, *, tile_px, resampling):
        self.reads.append((y, x))
        return SimpleNamespace(array=np.full((tile_px, tile_px, 3), (200, 120, 170), np.uint8), complete=True)


def label_model(name="model", *, tasks=None, tile_um=48.0, encoder="e" * 8):
    """A model whose tiles the labels are made on."""
    model = fake_model(name, tile_um=tile_um) if tasks is None else fake_model(name, tasks=tasks, tile_um=tile_um)
    model.encoder = SimpleNamespace(digest=encoder, features=4, name="fake")
    return model


def put_features(store: FeatureStore, place, *, but=()):
    """Keep an embedding of each tissue tile: its row, its column and two constants."""
    indices = np.setdiff1d(np.flatnonzero(place.tissue.ravel()), but)
    rows, columns = np.divmod(indices, place.grid.columns)
    ones = np.ones(len(indices))
    store.put(place.key, indices, np.stack([rows, columns, ones, ones], axis=1).astype(np.float32))
    return indices
