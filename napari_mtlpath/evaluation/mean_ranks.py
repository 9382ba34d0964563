"""Settings compared over several tasks by their ranks, because scores of different tasks have no common scale."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.stats import rankdata


def ranks(scores: Float[NDArray, "setting task"]) -> Float[NDArray, "setting task"]:
    """Return the rank of each setting for each task: 1 is the best, equal scores share the mean of their ranks.

    Parameters
    ----------
    scores
        Higher is better; averaged over the seeds.

    Examples
    --------
    >>> ranks(np.array([[0.9, 0.5], [0.8, 0.7], [0.8, 0.6]])).tolist()
    [[1.0, 3.0], [2.5, 1.0], [2.5, 2.0]]
    """
    if np.isnan(scores).any():
        raise ValueError("Every setting needs a score for every task to be ranked; found one without. Finish all runs.")
    return np.asarray(rankdata(-scores, axis=0, method="average"), dtype=np.float64)


def mean_ranks(scores: Float[NDArray, "setting task"], *, without: int | None = None) -> Float[NDArray, " setting"]:
    r"""Return the mean rank of each setting, :math:`\bar r_i = \frac{1}{T} \sum_j r_{ij}`.

    (Mormont et al., 2021, eq. 2.)

    Parameters
    ----------
    scores
        As in :func:`ranks`.
    without
        Column of a task whose own rank must not count, because the chosen setting is to be judged on it.
    """
    found = ranks(scores)
    if without is not None:
        found = np.delete(found, without, axis=1)
    if found.shape[1] == 0:
        raise ValueError("Mean ranks need at least one task that counts; found none. Leave out more than one set.")
    return np.asarray(found.mean(axis=1))


def best_setting(scores: Float[NDArray, "setting task"], *, without: int | None = None) -> int:
    """Return the row of the lowest mean rank; the first of several."""
    return int(np.argmin(mean_ranks(scores, without=without)))
