"""Trivial models that every figure is shown beside."""

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge

from napari_mtlpath.tasks import Classification, Task
from napari_mtlpath.training.evaluation import majority
from napari_mtlpath.training.tile_training.tile_data import TileData

THUMBNAIL_PX = 16
COMPONENTS = 100


def trivial_answers(data: TileData) -> Float[NDArray, "tile task"]:
    """Answer the validation tiles without looking at them: the majority class or the mean of the training side.

    A task without any training label is answered with 0, as nothing is known about it.
    """
    train = data.train.labels.double().numpy()
    answers = [_trivial(task, train[:, column]) for column, task in enumerate(data.tasks)]
    return np.tile(np.array(answers), (len(data.validation.tiles), 1))


def thumbnail_answers(data: TileData) -> Float[NDArray, "tile task"]:
    """Answer the validation tiles from 16 x 16 thumbnails by principal components and a linear model per task."""
    train, validation = (thumbnails(side.tiles.numpy()) for side in (data.train, data.validation))
    components = PCA(min(COMPONENTS, *train.shape), random_state=0).fit(train)
    return _linear_answers(data, components.transform(train), components.transform(validation))


def colour_answers(data: TileData) -> Float[NDArray, "tile task"]:
    """Answer the validation tiles from their mean colour by a linear model per task."""
    train, validation = (
        side.tiles.float().mean((1, 2)).double().numpy() / 255 for side in (data.train, data.validation)
    )
    return _linear_answers(data, train, validation)


def thumbnails(tiles: UInt8[NDArray, "tile y x 3"]) -> Float[NDArray, "tile value"]:
    """Return area-mean thumbnails of 16 x 16 pixels, flattened, 0 to 1; what does not divide by 16 is cut off."""
    block = tiles.shape[1] // THUMBNAIL_PX
    side = block * THUMBNAIL_PX
    blocks = tiles[:, :side, :side].reshape(len(tiles), THUMBNAIL_PX, block, THUMBNAIL_PX, block, 3)
    return blocks.mean((2, 4)).reshape(len(tiles), -1) / 255.0


def _trivial(task: Task, labels: Float[NDArray, " train"]) -> float:
    if np.isnan(labels).all():
        return 0.0
    return majority(labels) if isinstance(task, Classification) else float(np.nanmean(labels))


def _linear_answers(
    data: TileData, train: Float[NDArray, "train value"], validation: Float[NDArray, "tile value"]
) -> Float[NDArray, "tile task"]:
    labels = data.train.labels.double().numpy()
    columns = [_fit(task, train, labels[:, column]).predict(validation) for column, task in enumerate(data.tasks)]
    return np.stack(columns, axis=1).astype(np.float64)


def _fit(task: Task, train: Float[NDArray, "train value"], labels: Float[NDArray, " train"]) -> BaseEstimator:
    known = ~np.isnan(labels)
    if not known.any():
        return DummyRegressor(strategy="constant", constant=_trivial(task, labels)).fit(train, np.zeros(len(train)))
    if isinstance(task, Classification) and len(np.unique(labels[known])) == 1:
        return DummyClassifier(strategy="most_frequent").fit(train[known], labels[known])
    # Values are not scaled to one spread: that blows up the last components' noise and makes the floor easy to beat.
    model = LogisticRegression(max_iter=1000) if isinstance(task, Classification) else Ridge()
    return model.fit(train[known], labels[known])
