"""Slides with made-up embeddings in the feature store, so that a teaching can be timed without encoding anything."""

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.files import replacing
from napari_mtlpath.inference.plan import grid_for, key_for
from napari_mtlpath.review.task_draft import TaskDraft, TaskKind
from napari_mtlpath.session.session import Session
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.zoo.model import SlideModel

SIDE = 96
MPP = 0.375
"""A tile of smear-mecds, 36 um, is 96 pixels."""

RARE = 0.1
DISTANCE = 1.5
"""Share of tiles of the kind that is taught; distance of their embeddings from the others, in standard deviations."""

DRAFT = TaskDraft.made(title="Rare kind", kind=TaskKind.BINARY)


def write_slide(path: Path, *, rows: int, columns: int, seed: int) -> Path:
    """Write a slide full of tissue-coloured tiles; return its path."""
    chance = np.random.default_rng(seed)
    colours = chance.integers((150, 90, 140), (210, 150, 200), size=(rows, columns, 3))
    pixels = colours.repeat(SIDE, axis=0).repeat(SIDE, axis=1)
    pixels = np.clip(pixels + chance.integers(-12, 13, size=pixels.shape), 0, 255).astype(np.uint8)
    with replacing(path) as temporary, tifffile.TiffWriter(temporary) as writer:
        for number in range(3):
            per_cm = 10_000.0 / (MPP * 2**number)
            writer.write(
                pixels[:: 2**number, :: 2**number],
                photometric="rgb",
                tile=(256, 256),
                compression="jpeg",
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                subfiletype=1 if number else 0,
                metadata=None,
            )
    return path


def truth(count: int, *, seed: int) -> NDArray[np.bool_]:
    """Return which tiles are of the rare kind."""
    return np.random.default_rng(seed).random(count) < RARE


def fill_store(store: FeatureStore, path: Path, model: SlideModel, *, seed: int) -> NDArray[np.bool_]:
    """Put an embedding for every tile of a slide into the store; return which tiles are of the rare kind."""
    slide = open_slide(path)
    grid = grid_for(slide, model)
    rare = truth(len(grid), seed=seed)
    width = model.encoder.features
    direction = np.random.default_rng(0).normal(size=width)
    features = np.random.default_rng(seed).normal(size=(len(grid), width))
    features[rare] += DISTANCE * direction
    store.put(key_for(slide, model, grid), np.arange(len(grid)), features.astype(np.float32))
    slide.close()
    return rare


def label(session: Session, rare: NDArray[np.bool_], *, positives: int, negatives: int) -> None:
    """Label the first tiles of either kind on the open slide."""
    session.labels.define(DRAFT)
    session.labels.label_tiles(np.flatnonzero(rare)[:positives], 1.0)
    session.labels.label_tiles(np.flatnonzero(~rare)[:negatives], 0.0)
