"""Sets of possible classes instead of one answer, with a promised coverage per class and the right to abstain."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.evaluation.calibrate import calibrated_logits, probabilities
from napari_mtlpath.evaluation.class_sets import ClassSets
from napari_mtlpath.evaluation.intervals import Interval, Resampler, interval
from napari_mtlpath.evaluation.metrics import Answers
from napari_mtlpath.tasks import Classification


@dataclass(frozen=True, kw_only=True)
class SetFigures:
    """How sets do on other data.

    Attributes
    ----------
    coverage
        By class: share of its samples whose set holds it.
    answered
        Share of samples with exactly one class in their set; the others abstain and ask for a second reading.
    accuracy
        Among the answered.
    empty
        Share of samples with an empty set: unlike every class of the data that the thresholds rest on.
    """

    coverage: Mapping[str, Interval]
    answered: Interval
    accuracy: Interval
    empty: Interval


def class_sets(answers: Answers, parameters: Mapping[str, Any] | None, *, coverage: float = 0.9) -> ClassSets:
    """Return the thresholds from held-out answers.

    Parameters
    ----------
    answers
        Held-out answers to a classification task.
    parameters
        The task's calibration, as in its card.
    coverage
        Wanted for each class, 0 to 1. A patient with several samples counts once, with the worst of them.

    Raises
    ------
    ValueError
        If the task is a regression, or the coverage is not between 0 and 1.

    Examples
    --------
    >>> truth = np.repeat([0.0, 1.0], 9)
    >>> logits = np.concatenate([np.linspace(-4, 0, 9), np.linspace(0, 4, 9)])[:, None]
    >>> answers = Answers(
    ...     task=Classification(name="tumour"), truth=truth, logits=logits, patients=tuple(map(str, range(18))),
    ... )
    >>> [round(value, 3) for value in class_sets(answers, None, coverage=0.9).thresholds]  # the 9th of 9 scores
    [0.5, 0.5]
    """
    if not isinstance(answers.task, Classification):
        raise ValueError(f"Task {answers.task.name!r} is a regression; sets of classes are for classifications.")
    if not 0.0 < coverage < 1.0:
        raise ValueError(f"The coverage must lie between 0 and 1, such as 0.9; found {coverage}.")
    shares = probabilities(calibrated_logits(answers.logits, parameters))
    owners = np.array(answers.patients)
    thresholds, patients = [], []
    for number in range(len(answers.task.classes)):
        chosen = answers.truth == number
        strangeness = 1.0 - shares[chosen, number]
        worst = sorted(float(strangeness[owners[chosen] == name].max()) for name in np.unique(owners[chosen]))
        thresholds.append(_quantile(worst, coverage))
        patients.append(len(worst))
    return ClassSets(coverage=coverage, thresholds=tuple(thresholds), patients=tuple(patients))


def set_figures(
    answers: Answers, parameters: Mapping[str, Any] | None, sets: ClassSets, resampler: Resampler
) -> SetFigures:
    """Return how the sets do on answers that they were not made from, with intervals over patients."""
    assert isinstance(answers.task, Classification)
    possible = sets.sets(probabilities(calibrated_logits(answers.logits, parameters)))
    rows = np.arange(len(answers.truth))
    held = possible[rows, answers.truth.astype(np.int64)]
    alone = possible.sum(1) == 1
    everything = np.ones(len(rows), dtype=bool)
    return SetFigures(
        coverage={
            name: _share(held, answers.truth == number, answers, resampler)
            for number, name in enumerate(answers.task.classes)
        },
        answered=_share(alone, everything, answers, resampler),
        accuracy=_share(held, alone, answers, resampler),
        empty=_share(possible.sum(1) == 0, everything, answers, resampler),
    )


def _quantile(worst: Sequence[float], coverage: float) -> float:
    rank = math.ceil((len(worst) + 1) * coverage - 1e-9)
    return worst[rank - 1] if rank <= len(worst) else math.inf


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_], answers: Answers, resampler: Resampler) -> Interval:
    value = float(part[whole].mean()) if whole.any() else math.nan
    drawn = []
    for weights in resampler.weights(answers.patients):
        below = weights[:, whole].sum(1)
        above = weights[:, whole & part].sum(1)
        drawn.append(np.divide(above, below, out=np.full_like(below, np.nan), where=below > 0))
    return interval(value, np.concatenate(drawn))
