"""Figures of how well scores rank a binary truth, for many weightings of the samples at once."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

TOLERANCE = 1e-12  # sums of weights are compared with a wanted specificity: .9 must not fail at .8999999999999999


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranks:
    """Weights of positives and negatives by distinct score, from the highest score down.

    Attributes
    ----------
    thresholds
        The distinct scores, descending, [score].
    positives, negatives
        Weight of the positive and negative samples at each score, [draw, score].
    """

    thresholds: Float[NDArray[np.float64], " score"]
    positives: Float[NDArray[np.float64], "draw score"]
    negatives: Float[NDArray[np.float64], "draw score"]


def ranks(
    positive: Bool[NDArray[np.bool_], " sample"],
    scores: Float[NDArray[np.float64], " sample"],
    weights: Float[NDArray[np.float64], "draw sample"],
) -> Ranks:
    """Return the weights by distinct score; every figure of this module is a sum over them.

    Parameters
    ----------
    positive
        The truth.
    scores
        Higher means more positive.
    weights
        How often each sample counts; a bootstrap resample is a row of counts.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    drawn = weights[:, order]
    positives = np.add.reduceat(drawn * positive[order], starts, axis=1)
    return Ranks(
        thresholds=ordered[starts],
        positives=positives,
        negatives=np.add.reduceat(drawn, starts, axis=1) - positives,
    )


def auroc(ranked: Ranks) -> Float[NDArray[np.float64], " draw"]:
    """Return the area under the ROC curve: the share of pairs ranked rightly, ties counted half; NaN without a pair."""
    above = np.cumsum(ranked.positives, axis=1) - 0.5 * ranked.positives
    right = np.sum(ranked.negatives * above, axis=1)
    return _ratio(right, ranked.positives.sum(1) * ranked.negatives.sum(1))


def average_precision(ranked: Ranks) -> Float[NDArray[np.float64], " draw"]:
    """Return the area under the precision-recall curve as a step function; NaN unless both classes are drawn."""
    found = np.cumsum(ranked.positives, axis=1)
    shown = found + np.cumsum(ranked.negatives, axis=1)
    precision = np.divide(found, shown, out=np.zeros_like(found), where=shown > 0)
    total = ranked.positives.sum(1)
    area = _ratio(np.sum(ranked.positives * precision, axis=1), total)
    return np.where(ranked.negatives.sum(1) > 0, area, np.nan)


def sensitivity_at(ranked: Ranks, *, specificity: float) -> Float[NDArray[np.float64], " draw"]:
    """Return the highest sensitivity of any threshold whose specificity is at least the given one, 0 to 1."""
    total = ranked.negatives.sum(1, keepdims=True)
    alarms = np.cumsum(ranked.negatives, axis=1)
    allowed = alarms <= (1.0 - specificity) * total + TOLERANCE * np.maximum(total, 1.0)
    found = np.where(allowed, np.cumsum(ranked.positives, axis=1), 0.0).max(axis=1)
    share = _ratio(found, ranked.positives.sum(1))
    return np.where(total[:, 0] > 0, share, np.nan)


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
