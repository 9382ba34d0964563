"""How well a task's embeddings fall into its classes."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from sklearn.metrics import silhouette_samples

from napari_mtlpath.evaluation.metrics import Answers, Metric, Values, Weights
from napari_mtlpath.evaluation.predictions import Predictions
from napari_mtlpath.tasks import Classification

LARGEST = 5000
"""Samples whose mutual distances are still computed (200 MB)."""


def silhouette_answers(predictions: Predictions, task: str) -> Answers | None:
    """Return each sample's silhouette in the place of its logit; None where a task has none.

    A sample's silhouette compares its mean Euclidean distance to its own class with that to the nearest other class
    (Rousseeuw, 1987): 1 is far apart, 0 is no separation, negative is the wrong class. It is computed once on all
    samples; the bootstrap then averages it over drawn patients, because resampling would set duplicates at distance 0.
    """
    asked, vectors = predictions.task(task), predictions.embeddings.get(task)
    known = predictions.known(task)
    if vectors is None or not isinstance(asked, Classification) or known.sum() > LARGEST:
        return None
    truth = predictions.truth(task)[known]
    if not 2 <= len(np.unique(truth)) < len(truth):
        return None
    values: Float[NDArray[np.float64], " sample"] = silhouette_samples(vectors[known], truth).astype(np.float64)
    patients = tuple(np.array(predictions.patients)[known].tolist())
    return Answers(task=asked, truth=truth, logits=values[:, None], patients=patients)


def _mean(answers: Answers, weights: Weights) -> Values:
    return weights @ answers.logits[:, 0] / weights.sum(1)


SILHOUETTE = Metric(name="silhouette", title="silhouette of the embeddings", compute=_mean, chance=0.0)
"""To be computed on what :func:`silhouette_answers` returns."""
