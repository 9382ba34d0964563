"""Whether two runs differ on the same patients, and what many such questions do to a p-value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.stats import norm

from napari_mtlpath.evaluation.delong import compare_areas, delong
from napari_mtlpath.evaluation.intervals import CONFIDENCE, Drawn, Interval, Repeat, interval
from napari_mtlpath.tasks import Classification

DELONG = "DeLong"
BOOTSTRAP = "paired bootstrap"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A run's figure minus the baseline's, on the same patients.

    Attributes
    ----------
    interval
        The difference and its 95 % interval.
    p_value
        Two-sided, for no difference, before any correction.
    test
        How it was computed.
    """

    interval: Interval
    p_value: float
    test: str


def difference(run: Drawn, baseline: Drawn) -> Difference | None:
    """Return how a run differs from a baseline; None where they did not answer the same samples.

    AUROCs of a binary task with one repeat each are compared by DeLong's test; everything else, and everything with
    several seeds, by the paired bootstrap: the same patients (and the same seeds, where both runs have as many) are
    drawn for both. Both figures must come from one :class:`Resampler`.
    """
    if not _same_samples(run.repeats, baseline.repeats):
        return None
    if run.metric.name == "auroc" and len(run.repeats) == len(baseline.repeats) == 1 and _is_binary(run.repeats[0]):
        return _delong(run.repeats[0], baseline.repeats[0])
    drawn = run.values - baseline.values
    return Difference(
        interval=interval(run.value - baseline.value, drawn), p_value=bootstrap_p_value(drawn), test=BOOTSTRAP
    )


def bootstrap_p_value(drawn: Float[NDArray[np.float64], " draw"]) -> float:
    """Return the two-sided p-value that belongs to the percentile interval of drawn differences.

    It is the smallest level whose interval leaves out 0, and never below 2 / (draws + 1).
    """
    defined = drawn[np.isfinite(drawn)]
    if len(defined) == 0:
        return float("nan")
    beyond = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    return float(min(1.0, 2.0 * (beyond + 1) / (len(defined) + 1)))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values that hold for all questions of the family together (Holm, 1979); NaN stays NaN and counts not.

    Examples
    --------
    >>> {name: round(value, 3) for name, value in holm({"a": 0.01, "b": 0.04, "c": 0.03}).items()}
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    known = sorted((value, name) for name, value in p_values.items() if np.isfinite(value))
    adjusted: dict[str, float] = {name: float("nan") for name in p_values}
    highest = 0.0
    for place, (p_value, name) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - place) * p_value))
        adjusted[name] = highest
    return adjusted


def groups_apart(figures: Mapping[str, Interval], *, higher_is_better: bool) -> list[list[str]]:
    """Return the names in groups, best group first; within a group, intervals overlap and nothing is ranked.

    Two neighbours in a group overlap; the first and the last of a long group need not, but nothing between them tells
    them apart.

    Examples
    --------
    >>> figures = {
    ...     "a": Interval(value=0.7, low=0.6, high=0.8), "b": Interval(value=0.75, low=0.65, high=0.85),
    ...     "c": Interval(value=0.95, low=0.9, high=1.0),
    ... }
    >>> groups_apart(figures, higher_is_better=True)
    [['c'], ['b', 'a']]
    """
    known = {name: figure for name, figure in figures.items() if figure.known}
    names = sorted(known, key=lambda name: known[name].low)
    made: list[list[str]] = []
    reach = -np.inf
    for name in names:
        if known[name].low > reach or not made:
            made.append([])
        made[-1].append(name)
        reach = max(reach, known[name].high)
    ordered = [sorted(group, key=lambda name: known[name].value, reverse=higher_is_better) for group in made]
    return ordered[::-1] if higher_is_better else ordered


def ranking_words(figures: Mapping[str, Interval], *, higher_is_better: bool, what: str) -> str:
    """Return what may be said about an order, and what may not."""
    if len(figures) < 2:
        return ""
    groups = groups_apart(figures, higher_is_better=higher_is_better)
    if len(groups) <= 1:
        return f"{what}: no ranking, because the intervals overlap."
    parts = [" and ".join(group) if len(group) <= 2 else f"{', '.join(group[:-1])} and {group[-1]}" for group in groups]
    tied = [part for part, group in zip(parts, groups, strict=True) if len(group) > 1]
    ending = f" No ranking among {'; nor among '.join(tied)}: their intervals overlap." if tied else ""
    return f"{what}: {' ahead of '.join(parts)}.{ending}"


def _delong(run: Repeat, baseline: Repeat) -> Difference:
    first, second = run.answers, baseline.answers
    try:
        areas = delong(first.truth == 1, np.stack([first.logits[:, 0], second.logits[:, 0]]), first.patients)
    except ValueError:  # one class only, or one patient of a class
        nothing = Interval(value=float("nan"), low=float("nan"), high=float("nan"))
        return Difference(interval=nothing, p_value=float("nan"), test=DELONG)
    test = compare_areas(areas, 0, 1)
    reach = float(norm.ppf(0.5 + CONFIDENCE / 2.0)) * test.standard_error
    limits = Interval(value=test.difference, low=test.difference - reach, high=test.difference + reach)
    return Difference(interval=limits, p_value=test.p_value, test=DELONG)


def _is_binary(repeat: Repeat) -> bool:
    task = repeat.answers.task
    return isinstance(task, Classification) and task.is_binary


def _same_samples(run: Sequence[Repeat], baseline: Sequence[Repeat]) -> bool:
    """Whether two runs answered the same samples, fold by fold, with the same truth."""
    first, second = ({repeat.fold: repeat.answers for repeat in repeats} for repeats in (run, baseline))
    return set(first) == set(second) and all(
        answers.patients == second[fold].patients and np.array_equal(answers.truth, second[fold].truth)
        for fold, answers in first.items()
    )
