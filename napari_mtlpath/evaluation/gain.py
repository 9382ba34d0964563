"""What learning tasks together gains over learning each alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from napari_mtlpath.evaluation.intervals import Drawn, Interval, interval


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Relative gain in percent: by task, and the mean over tasks."""

    by_task: Mapping[str, Interval]
    mean: Interval


def relative_gain(
    together: float | Float[NDArray[np.float64], " draw"],
    alone: float | Float[NDArray[np.float64], " draw"],
    *,
    higher_is_better: bool,
) -> float | Float[NDArray[np.float64], " draw"]:
    """Return the gain in percent: ``100 (-1)^l (M_b - M_m) / M_b``, l = 1 where higher is better.

    M_b is the figure of the task learned alone, M_m that of the tasks learned together (CTAN, as in Maninis et al.,
    2019, arXiv:1904.08918, eq. 4); positive is better.

    Examples
    --------
    >>> round(relative_gain(0.9, 0.8, higher_is_better=True), 3)
    12.5
    >>> round(relative_gain(2.0, 1.6, higher_is_better=False), 3)
    -25.0
    """
    sign = -1.0 if higher_is_better else 1.0
    return 100.0 * sign * (alone - together) / alone


def gains(pairs: Mapping[str, tuple[Drawn, Drawn]]) -> Gain:
    """Return the gains of several tasks with their intervals.

    Parameters
    ----------
    pairs
        By task: the figure of the tasks learned together, and that of the task learned alone, on the same draws.
    """
    values, drawn = {}, {}
    for task, (together, alone) in pairs.items():
        better = together.metric.higher_is_better
        values[task] = float(relative_gain(together.value, alone.value, higher_is_better=better))
        drawn[task] = np.asarray(relative_gain(together.values, alone.values, higher_is_better=better))
    return Gain(
        by_task={task: interval(values[task], drawn[task]) for task in pairs},
        mean=interval(float(np.mean(list(values.values()))), np.mean(list(drawn.values()), axis=0)),
    )
