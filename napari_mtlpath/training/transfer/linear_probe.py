"""Transfer by features: a linear support vector machine on a frozen encoder's embeddings."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from napari_mtlpath.tasks import Classification
from napari_mtlpath.training.evaluation import estimate
from napari_mtlpath.training.pool.parts import Part, grouped_folds
from napari_mtlpath.training.pool.pool_answers import floor_of, metric_of
from napari_mtlpath.training.pool.task_pool import PoolTask

COSTS = tuple(10.0**power for power in range(-10, 1))
"""What C is chosen from (Mormont et al., 2021, section IV-F)."""
FOLDS = 5
ITERATIONS = 2000
"""Steps of the solver at most; one that has not converged by then is used as it is, and its folds' scores say how good
it is."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """How well an encoder serves a task.

    Attributes
    ----------
    task, encoder, method
        What was transferred to, from where and how.
    metric
        ``accuracy`` or ``auc``.
    value, low, high
        On samples that nothing was chosen by, with the 95 % interval of a bootstrap over them.
    floor
        Of the trivial answer: the most frequent class, or 0.5.
    chosen
        The setting that was chosen, such as C, in words.
    """

    task: str
    encoder: str
    method: str
    metric: str
    value: float
    low: float
    high: float
    floor: float
    chosen: str


def linear_probe(
    task: PoolTask,
    features: Mapping[Part, Float[NDArray, "sample feature"]],
    *,
    encoder: str,
    fit: Sequence[Part] = (Part.TRAIN, Part.VALIDATION),
    judge: Part = Part.TEST,
    folds: int = FOLDS,
    seed: int = 0,
) -> Transfer:
    """Fit a linear SVM on standardised features, C chosen by grouped folds, and judge it on another part.

    Parameters
    ----------
    task
        The target task.
    features
        By part: embeddings of its samples.
    encoder
        What the result is named by.
    fit
        Parts whose samples it learns from; they are divided into folds, no group in two.
    judge
        The part that it is judged on, once.
    folds, seed
        Number of folds, and how they are drawn.

    Raises
    ------
    ValueError
        If there are fewer groups than folds, or one class.
    """
    known = np.concatenate([features[part] for part in fit])
    labels = np.concatenate([task.parts[part].labels for part in fit])
    groups = [group for part in fit for group in task.parts[part].groups]
    if len(np.unique(labels)) < 2:
        raise ValueError(f"Task {task.name!r} has one class in the parts to learn from. Take it out.")
    assigned = grouped_folds(labels, groups, count=folds, seed=seed)
    scores = [fold_score(task.task, known, labels, assigned, cost=cost) for cost in COSTS]
    cost = COSTS[int(np.argmax(scores))]  # the strongest regularisation of several
    answers = _answers(task.task, _fitted(known, labels, cost), features[judge])
    name, metric = metric_of(task.task)
    found = estimate(metric, task.parts[judge].labels.astype(np.float64), answers)
    return Transfer(
        task=task.name,
        encoder=encoder,
        method="linear SVM",
        metric=name,
        value=found.value,
        low=found.low,
        high=found.high,
        floor=floor_of(task, judge),
        chosen=f"C = {cost:g}",
    )


def fold_score(
    task: Classification,
    features: Float[NDArray, "sample feature"],
    labels: Int[NDArray, " sample"],
    folds: Int[NDArray, " sample"],
    *,
    cost: float,
) -> float:
    """Return the mean over folds of the metric on each, by a machine that learned from the others.

    Folds that cannot be judged (one class) or not be learned for are left out.
    """
    metric, values = metric_of(task)[1], []
    for fold in range(int(folds.max()) + 1):
        own = folds == fold
        if min(len(np.unique(labels[own])), len(np.unique(labels[~own]))) < 2:
            continue
        machine = _fitted(features[~own], labels[~own], cost)
        values.append(metric(labels[own].astype(np.float64), _answers(task, machine, features[own])))
    return float(np.mean(values)) if values else 0.0


def _fitted(features: Float[NDArray, "sample feature"], labels: Int[NDArray, " sample"], cost: float) -> Pipeline:
    machine = make_pipeline(StandardScaler(), LinearSVC(C=cost, dual="auto", max_iter=ITERATIONS, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return machine.fit(features, labels)


def _answers(
    task: Classification, machine: Pipeline, features: Float[NDArray, "sample feature"]
) -> Float[NDArray, " sample"]:
    found = machine.decision_function(features) if task.is_binary else machine.predict(features)
    return np.asarray(found, dtype=np.float64)
