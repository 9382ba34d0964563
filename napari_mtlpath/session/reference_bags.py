"""The bags on which the forgetting guard compares: what the model's encoder has left in the feature store."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_mtlpath.features.key import FeatureKey
from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.tasks import UNKNOWN_LABEL
from napari_mtlpath.training.teaching.lesson import TaughtBag
from napari_mtlpath.zoo.model import SlideModel

MOST_TILES = 100_000
"""Tiles of cached slides beyond which those unused for longest are left out: they are all held in memory."""


def reference_bags(store: FeatureStore, model: SlideModel, taught: Sequence[TaughtBag] = ()) -> tuple[TaughtBag, ...]:
    """Return a lesson's bags and every other bag that the store holds of the same encoder and tiles. Reads files.

    Parameters
    ----------
    store
        Embeddings on disk.
    model
        Whose encoder and tile spec count.
    taught
        Bags of lessons; they come first, each slide only once.

    Returns
    -------
    The bags without labels. Where a tile lies on its slide is not in the store: `positions` of the others are
    their tiles' numbers, and `centres_um` is unknown.
    """
    found = [_without_labels(bag) for bag in {bag.fingerprint: bag for bag in taught}.values()]
    seen, room = {bag.fingerprint for bag in found}, MOST_TILES
    for text in reversed(store.keys()):
        key = _key_of(text, model)
        if key is None or key.slide in seen:
            continue
        room -= store.count(key)
        if room < 0:
            break
        indices, features = store.get(key)
        if len(indices) == 0 or features.shape[1] != model.encoder.features:
            continue
        seen.add(key.slide)
        found.append(
            TaughtBag(
                name=key.slide[:12],
                fingerprint=key.slide,
                features=features,
                positions=np.stack([indices, np.zeros_like(indices)], axis=1),
                tile_labels=np.full(len(indices), np.nan),
                numbers=indices,
                grid=key.tiles,
            )
        )
    return tuple(found)


def _key_of(text: str, model: SlideModel) -> FeatureKey | None:
    """Return a key that belongs to the model's encoder and tiles, or None."""
    parts = text.split("|")
    if len(parts) != len(FeatureKey.__dataclass_fields__):
        return None
    key = FeatureKey(slide=parts[0], encoder=parts[1], tiles=parts[2], preprocessing=parts[3])
    belongs = key.encoder == model.encoder.digest and key.tiles.startswith(f"{model.card.tile.key}-")
    return key if belongs else None


def _without_labels(bag: TaughtBag) -> TaughtBag:
    nothing = np.full(len(bag.features), np.nan)
    return replace(bag, tile_labels=nothing, label=UNKNOWN_LABEL, origins={})
