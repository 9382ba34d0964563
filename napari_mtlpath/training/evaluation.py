"""Figures of merit with their uncertainty, each to be read beside the trivial answer's."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import mean_absolute_error, r2_score

Metric = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
"""Maps (truth, answers) of the same samples to one number."""

BOOTSTRAPS = 500


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with the 95 % percentile interval of its bootstrap over samples."""

    value: float
    low: float
    high: float

    def row(self, name: str, *, floor: float | None = None) -> dict[str, float | str]:
        """Return the entries of a card's metrics table for this figure."""
        row: dict[str, float | str] = {name: round(self.value, 4)}
        if floor is not None:
            row[f"{name}_floor"] = round(floor, 4)
        return row | {f"{name}_low": round(self.low, 4), f"{name}_high": round(self.high, 4)}


def estimate(
    metric: Metric,
    truth: NDArray[np.float64],
    answers: NDArray[np.float64],
    *,
    seed: int = 0,
    repeats: int = BOOTSTRAPS,
) -> Estimate:
    """Return `metric` on all samples and its bootstrap interval; resamples where it is undefined are drawn again."""
    generator = np.random.default_rng(seed)
    values: list[float] = []
    fewest = min(2, len(np.unique(truth)))  # one class among the samples leaves an AUC undefined
    while len(values) < repeats:
        drawn = generator.integers(0, len(truth), len(truth))
        if len(np.unique(truth[drawn])) >= fewest:
            values.append(metric(truth[drawn], answers[drawn]))
    low, high = np.percentile(values, [2.5, 97.5])
    return Estimate(value=metric(truth, answers), low=float(low), high=float(high))


def auc(truth: NDArray[np.float64], answers: NDArray[np.float64]) -> float:
    """Area under the ROC curve of scores for a truth of 0 and 1; 0.5 is chance.

    From ranks (Mann and Whitney, 1947): equals scikit-learn's, at a hundredth of its time.
    """
    positive = truth == 1
    count, others = int(positive.sum()), int((~positive).sum())
    if count == 0 or others == 0:
        raise ValueError("An area under the ROC curve needs samples of both classes; found one. Leave the task out.")
    above = float(rankdata(answers)[positive].sum()) - count * (count + 1) / 2
    return above / (count * others)


def accuracy(truth: NDArray[np.float64], answers: NDArray[np.float64]) -> float:
    """Share of answers that equal the truth."""
    return float(np.mean(truth == answers))


def macro_f1(truth: NDArray[np.float64], answers: NDArray[np.float64]) -> float:
    """Mean over the classes of the truth of the F1 score; equals scikit-learn's, at a hundredth of its time."""
    classes, codes = np.unique(truth, return_inverse=True)
    right = np.bincount(codes[truth == answers], minlength=len(classes))
    given = np.array([np.count_nonzero(answers == each) for each in classes])
    return float(np.mean(2 * right / (np.bincount(codes) + given)))


def r2(truth: NDArray[np.float64], answers: NDArray[np.float64]) -> float:
    """Share of the variance explained; 0 for the truth's own mean."""
    return float(r2_score(truth, answers))


def mean_error(truth: NDArray[np.float64], answers: NDArray[np.float64]) -> float:
    """Mean absolute error, in the truth's unit."""
    return float(mean_absolute_error(truth, answers))


def mean_over_columns(metric: Metric) -> Metric:
    """Return the metric that takes [sample, task] arrays and averages over the tasks."""

    def averaged(truth: NDArray[np.float64], answers: NDArray[np.float64]) -> float:
        return float(np.mean([metric(truth[:, task], answers[:, task]) for task in range(truth.shape[1])]))

    return averaged


def majority(train: Int[NDArray, " sample"] | Float[NDArray, " sample"]) -> float:
    """Return the most frequent label, the trivial answer to a classification task."""
    values, counts = np.unique(train[~np.isnan(train)], return_counts=True)
    return float(values[np.argmax(counts)])
