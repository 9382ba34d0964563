"""Trivial answers that every model is shown beside: the majority, and a linear probe on mean features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from napari_mtlpath.evaluation.predictions import Outputs
from napari_mtlpath.tasks import Regression, Task

MAJORITY = "majority"
LINEAR_PROBE = "linear probe"

SMALLEST_SHARE = 1e-6  # a class that training never saw: its log share must stay finite


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingFacts:
    """What the trivial answers are fitted on.

    Attributes
    ----------
    labels
        Labels of the training samples, NaN where unknown, [sample, task].
    features
        Mean features of the training samples, [sample, feature], or None: then there is no linear probe.
    """

    labels: Float[NDArray[np.float64], "sample task"]
    features: Float[NDArray[np.float64], "sample feature"] | None = None


def floors(
    tasks: Sequence[Task],
    training: TrainingFacts,
    *,
    samples: int,
    features: Float[NDArray[np.float64], "sample feature"] | None = None,
) -> dict[str, Outputs]:
    """Return the trivial answers for `samples` judged samples, in the form of :attr:`Predictions.floors`.

    Parameters
    ----------
    tasks
        The questions.
    training
        What to fit on; the training part only.
    samples
        Number of samples to answer.
    features
        Their mean features, in the order of the predictions, [sample, feature]; None leaves the linear probe out.

    Returns
    -------
    By name of the answer, by task: logits or values, [sample, output]. A task without two known classes in training
    has no linear probe.

    Examples
    --------
    >>> from napari_mtlpath.tasks import Classification
    >>> training = TrainingFacts(labels=np.array([[1.0], [1.0], [1.0], [0.0]]))
    >>> answers = floors([Classification(name="tumour")], training, samples=2)
    >>> answers["majority"]["tumour"].round(3).tolist()  # log(3 / 1)
    [[1.099], [1.099]]
    """
    answers: dict[str, Outputs] = {
        MAJORITY: {
            task.name: np.tile(majority_output(task, training.labels[:, column]), (samples, 1))
            for column, task in enumerate(tasks)
        }
    }
    if features is not None and training.features is not None:
        probes = {
            task.name: probe
            for column, task in enumerate(tasks)
            if (probe := _probe(task, training.features, training.labels[:, column], features)) is not None
        }
        answers[LINEAR_PROBE] = probes
    return answers


def majority_output(task: Task, labels: Float[NDArray[np.float64], " sample"]) -> NDArray[np.float64]:
    """Return what never looking answers: the log odds or log shares of the classes, or the mean, [output]."""
    known = labels[~np.isnan(labels)]
    if isinstance(task, Regression):
        return np.array([known.mean() if len(known) else 0.5 * (task.low + task.high)])
    counts = np.bincount(known.astype(np.int64), minlength=len(task.classes)).astype(np.float64)
    shares = np.maximum(counts / max(counts.sum(), 1.0), SMALLEST_SHARE)
    return np.array([np.log(shares[1] / shares[0])]) if task.is_binary else np.log(shares)


def _probe(
    task: Task, learned: NDArray[np.float64], labels: NDArray[np.float64], features: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    known = ~np.isnan(labels)
    if known.sum() < 2 or len(np.unique(labels[known])) < 2:
        return None
    if isinstance(task, Regression):
        model = make_pipeline(StandardScaler(), Ridge()).fit(learned[known], labels[known])
        return np.asarray(model.predict(features), dtype=np.float64)[:, None]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(learned[known], labels[known])
    scores = np.asarray(model.decision_function(features), dtype=np.float64)
    if task.is_binary:
        return scores[:, None]
    shares = np.full((len(features), len(task.classes)), np.log(SMALLEST_SHARE))
    shares[:, model.classes_.astype(np.int64)] = model.predict_log_proba(features)
    return np.maximum(shares, np.log(SMALLEST_SHARE))
