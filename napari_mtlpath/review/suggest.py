"""Which tiles to label next: some that the labels so far leave in doubt, some unlike everything labelled."""

import math

import numpy as np
from numpy.typing import NDArray

MOST_CANDIDATES = 20_000
"""More tiles than this are thinned out at random: their neighbours look alike, and an answer must come at once."""

DOUBTFUL_POOL = 5
"""Doubtful tiles are chosen, as different as possible, among so many times as are wanted."""

RIDGE = 1.0
"""Weight of the penalty, in units of the mean squared length of an embedding."""


def suggest(
    features: NDArray[np.float32],
    labels: NDArray[np.floating],
    *,
    count: int,
    seed: int,
    scores: NDArray[np.floating] | None = None,
    doubtful_share: float = 0.5,
) -> NDArray[np.int64]:
    """Choose tiles to label next, doubtful and unlike ones in turn; never one that has a label.

    Doubtful are those nearest the boundary of the new task's answers: of a model's, where there is one, else of a
    ridge classifier on the labels so far (Settles, 2009, Active Learning Literature Survey, section 3.1). Unlike are
    those farthest from all labelled and all chosen ones (k-centre greedy; Sener and Savarese, 2018, arXiv:1708.00489).

    Parameters
    ----------
    features
        Embeddings, [tile, feature].
    labels
        One per tile, [tile]; NaN where unknown.
    count
        How many tiles are wanted; fewer are returned where fewer are left.
    seed
        The same seed, features, labels and scores give the same tiles.
    scores
        A model's answer for each tile as the probability of the positive class, [tile]; None before there is one.
    doubtful_share
        Which part of them is chosen for doubt, 0 to 1.

    Returns
    -------
    Rows of `features`, the ones to ask about first in front.

    Examples
    --------
    >>> features = np.array([[0.0], [0.1], [5.0], [9.9], [10.0]], dtype=np.float32)
    >>> suggest(features, np.array([0.0, np.nan, np.nan, np.nan, 1.0]), count=1, seed=0).tolist()
    [2]
    """
    if len(labels) != len(features) or (scores is not None and len(scores) != len(features)):
        raise ValueError(f"Expected one label and one score per tile; found {len(labels)} for {len(features)} tiles.")
    open_rows = np.flatnonzero(np.isnan(labels))
    generator = np.random.default_rng(seed)
    if len(open_rows) > MOST_CANDIDATES:
        open_rows = np.sort(generator.choice(open_rows, MOST_CANDIDATES, replace=False))
    count = min(count, len(open_rows))
    if count <= 0:
        return np.empty(0, dtype=np.int64)
    known = np.flatnonzero(~np.isnan(labels))
    points = _standardised(features, np.concatenate([known, open_rows]))
    doubt = _doubt(points, labels, known, scores)
    wanted = math.ceil(count * doubtful_share) if doubt is not None else 0
    taken: list[int] = []
    if doubt is not None and wanted:
        pool = open_rows[np.argsort(-doubt[open_rows], kind="stable")[: DOUBTFUL_POOL * wanted]]
        taken = [int(pool[0]), *_farthest(points, pool[1:], known=pool[:1], count=wanted - 1, generator=generator)]
    rest = open_rows[~np.isin(open_rows, taken)]
    centres = np.concatenate([known, np.array(taken, dtype=np.int64)])
    unlike = _farthest(points, rest, known=centres, count=count - len(taken), generator=generator)
    return np.array(_in_turn(taken, unlike), dtype=np.int64)


def _standardised(features: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the features with the same weight for each of them."""
    spread = features[rows].std(axis=0)
    return (features - features[rows].mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def _doubt(
    points: NDArray[np.float32],
    labels: NDArray[np.floating],
    known: NDArray[np.int64],
    scores: NDArray[np.floating] | None,
) -> NDArray[np.float64] | None:
    """Return how doubtful each tile's answer is, the larger the more; None where nothing can be said."""
    if scores is not None:
        return -np.abs(np.nan_to_num(np.asarray(scores, np.float64), nan=1.0) - 0.5)
    classes = np.unique(labels[known])
    if len(classes) < 2:
        return None
    answers = _ridge(points, known, np.where(labels[known][:, None] == classes, 1.0, -1.0))
    best = np.sort(answers, axis=1)
    return best[:, -2] - best[:, -1]


def _ridge(points: NDArray[np.float32], known: NDArray[np.int64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a ridge regression's answers [tile, class] in its dual form: there are few labels and long embeddings."""
    labelled = points[known].astype(np.float64)
    kernel = labelled @ labelled.T
    offset = targets.mean(axis=0)
    penalty = RIDGE * max(float(np.trace(kernel)) / len(known), 1e-9)
    weights = np.linalg.solve(kernel + penalty * np.eye(len(known)), targets - offset)
    return points @ (labelled.T @ weights) + offset


def _farthest(
    points: NDArray[np.float32],
    candidates: NDArray[np.int64],
    *,
    known: NDArray[np.int64],
    count: int,
    generator: np.random.Generator,
) -> list[int]:
    """Return candidates of which each is farthest from what is known and from those chosen before it."""
    if count <= 0 or len(candidates) == 0:
        return []
    chosen: list[int] = []
    places = points[candidates]
    if len(known) == 0:
        first = int(generator.integers(len(candidates)))
        chosen.append(int(candidates[first]))
        distance = _squares(places, places[first])
    else:
        distance = np.min([_squares(places, points[row]) for row in known.tolist()], axis=0)
    while len(chosen) < min(count, len(candidates)):
        best = int(distance.argmax())
        if int(candidates[best]) in chosen:  # All others lie on chosen ones: take what is left in order.
            chosen += [row for row in candidates.tolist() if row not in chosen][: count - len(chosen)]
            break
        chosen.append(int(candidates[best]))
        distance = np.minimum(distance, _squares(places, places[best]))
    return chosen


def _squares(places: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.square(places - centre).sum(axis=1, dtype=np.float64)


def _in_turn(first: list[int], second: list[int]) -> list[int]:
    shorter = min(len(first), len(second))
    mixed = [row for pair in zip(first, second, strict=False) for row in pair]
    return [*mixed, *first[shorter:], *second[shorter:]]
