"""Areas under ROC curves of several scores on the same samples, with their covariance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.stats import norm, rankdata


@dataclass(frozen=True, kw_only=True, eq=False)
class Areas:
    """AUROC of each score, [score], and their covariance matrix, [score, score]."""

    values: Float[NDArray[np.float64], " score"]
    covariance: Float[NDArray[np.float64], "score score"]


@dataclass(frozen=True, kw_only=True)
class AreaTest:
    """The difference of two areas: first minus second, its standard error, and the two-sided p-value."""

    difference: float
    standard_error: float
    p_value: float


def delong(
    positive: Bool[NDArray[np.bool_], " sample"],
    scores: Float[NDArray[np.float64], "score sample"],
    patients: Sequence[str] | None = None,
) -> Areas:
    """Return the AUROCs of several scores with their covariance, by midranks.

    Parameters
    ----------
    positive
        The truth; both classes must occur.
    scores
        One row per model.
    patients
        Whose each sample is. Samples of one patient are not independent: their parts are summed before variances are
        taken (Obuchowski, 1997, Biometrics 53:567). None, or one sample each, is DeLong et al. (1988), computed by
        midranks as Sun and Xu (2014) have it.

    Raises
    ------
    ValueError
        If a class is missing, or has fewer than two patients.

    Examples
    --------
    >>> areas = delong(np.array([True, True, False, False]), np.array([[0.9, 0.4, 0.5, 0.1]]))
    >>> areas.values.tolist()
    [0.75]
    """
    count, others = int(positive.sum()), int((~positive).sum())
    if count == 0 or others == 0:
        raise ValueError("An AUROC needs positive and negative samples; found one class only.")
    everything = rankdata(scores, axis=1)
    among_positive = rankdata(scores[:, positive], axis=1)
    among_negative = rankdata(scores[:, ~positive], axis=1)
    # The share of negatives that each positive outranks, and of positives that outrank each negative.
    won = (everything[:, positive] - among_positive) / others
    lost = 1.0 - (everything[:, ~positive] - among_negative) / count
    values = won.mean(1)
    names = np.arange(len(positive)) if patients is None else np.unique(np.asarray(patients), return_inverse=True)[1]
    clusters = int(names.max()) + 1
    first = _sums(won - values[:, None], names[positive], clusters)
    second = _sums(lost - values[:, None], names[~positive], clusters)
    with_positive, with_negative = (len(np.unique(names[part])) for part in (positive, ~positive))
    if min(with_positive, with_negative) < 2:
        raise ValueError(
            f"The variance of an AUROC needs two patients of each class; found {with_positive} and {with_negative}."
        )
    cross = clusters / (clusters - 1) * first @ second.T
    covariance = (
        with_positive / (with_positive - 1) * first @ first.T / count**2
        + with_negative / (with_negative - 1) * second @ second.T / others**2
        + (cross + cross.T) / (count * others)
    )
    return Areas(values=values, covariance=covariance)


def compare_areas(areas: Areas, first: int, second: int) -> AreaTest:
    """Return the two-sided test that two areas of `areas` are equal; p = 1 where the scores rank alike."""
    contrast = np.zeros(len(areas.values))
    contrast[[first, second]] = 1.0, -1.0
    difference = float(contrast @ areas.values)
    error = math.sqrt(max(0.0, float(contrast @ areas.covariance @ contrast)))
    if error == 0.0:
        return AreaTest(difference=difference, standard_error=0.0, p_value=1.0 if difference == 0.0 else 0.0)
    return AreaTest(difference=difference, standard_error=error, p_value=float(2.0 * norm.sf(abs(difference) / error)))


def _sums(values: NDArray[np.float64], names: NDArray[np.int64], clusters: int) -> NDArray[np.float64]:
    return np.stack([np.bincount(names, weights=row, minlength=clusters) for row in values])
