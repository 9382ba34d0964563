"""How sure a figure is: the bootstrap over patients, and over seeds where a run was repeated."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from napari_mtlpath.evaluation.metrics import Answers, Metric, Values

DRAWS = 2000
CONFIDENCE = 0.95
CHUNK = 2_000_000
"""Weights held at once, so that a large cohort does not need draws x samples numbers."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure and the percentile interval of its bootstrap.

    Attributes
    ----------
    value
        The figure of the data as they are; NaN where they do not define it.
    low, high
        95 % interval; NaN where no resample defines the figure.
    undefined
        Share of the resamples that lacked a class and so were left out, 0 to 1.
    """

    value: float
    low: float
    high: float
    undefined: float = 0.0

    @property
    def known(self) -> bool:
        """Whether there is a figure with an interval."""
        return bool(np.isfinite([self.value, self.low, self.high]).all())

    @property
    def degenerate(self) -> bool:
        """Whether no resample differs: the interval then says nothing about other patients."""
        return self.known and self.low == self.high

    def overlaps(self, other: "Interval") -> bool:
        """Whether two intervals have a value in common."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True, kw_only=True, eq=False)
class Repeat:
    """One repeat of a run: its answers to one task, its seed and its fold."""

    answers: Answers
    seed: int = 0
    fold: int = 0


class Resampler:
    """Draws patients (and seeds) with replacement, the same ones for everything that is compared.

    All samples of a patient are drawn together. With S > 1 seeds, each draw also takes S - 1 of the seeds with
    replacement, independently of the patients (the pigeonhole bootstrap of crossed factors; Owen, 2007,
    arXiv:0709.1648). S - 1, because drawing S would make the variance of a mean over few seeds too small by the factor
    (S - 1) / S (McCarthy and Snowden, 1985).

    Parameters
    ----------
    patients
        All patients; repeated names are one patient.
    draws
        Number of resamples.
    seed
        Of the random numbers.
    """

    def __init__(self, patients: Iterable[str], *, draws: int = DRAWS, seed: int = 0) -> None:
        names = sorted(set(patients))
        if not names or draws < 2:
            raise ValueError(f"A bootstrap needs patients and at least 2 draws; found {len(names)} and {draws}.")
        self.draws = draws
        self.seed = seed
        self._column = {name: number for number, name in enumerate(names)}
        random = np.random.default_rng(seed)
        self._counts = np.empty((draws, len(names)), dtype=np.uint16)
        for row in self._counts:  # one at a time: all drawn numbers of a large cohort would fill the memory
            row[:] = np.bincount(random.integers(0, len(names), len(names)), minlength=len(names))

    def weights(self, patients: Sequence[str]) -> Iterator[Float[NDArray[np.float64], "draw sample"]]:
        """Yield how often each sample is drawn, some draws at a time, [draw, sample]."""
        columns = np.array([self._column[name] for name in patients])
        step = max(1, CHUNK // max(1, len(columns)))
        for start in range(0, self.draws, step):
            yield self._counts[start : start + step][:, columns].astype(np.float64)

    def seed_weights(self, seeds: Sequence[int]) -> Float[NDArray[np.float64], "draw seed"]:
        """Return each seed's share in each draw, [draw, seed]; equal for equal lists of seeds."""
        count = len(seeds)
        if count == 1:
            return np.ones((self.draws, 1))
        random = np.random.default_rng([self.seed, count, 1])
        drawn = random.integers(0, count, (self.draws, count - 1))
        return np.stack([np.bincount(row, minlength=count) for row in drawn]) / (count - 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """A run's figure with its bootstrap values, so that runs drawn alike can be compared value by value.

    Attributes
    ----------
    metric, repeats
        What was computed, from what.
    value
        The figure of the data as they are.
    values
        Of the resamples, NaN where undefined, [draw].
    """

    metric: Metric
    repeats: tuple[Repeat, ...]
    value: float
    values: Values

    @property
    def interval(self) -> Interval:
        """The figure with its percentile interval."""
        return interval(self.value, self.values)


def draw(metric: Metric, repeats: Sequence[Repeat], resampler: Resampler) -> Drawn:
    """Return a run's figure with its bootstrap values."""
    return Drawn(
        metric=metric,
        repeats=tuple(repeats),
        value=value(metric, repeats),
        values=distribution(metric, repeats, resampler),
    )


def distribution(metric: Metric, repeats: Sequence[Repeat], resampler: Resampler) -> Values:
    """Return the bootstrap values of a run's figure, NaN where a resample does not define it, [draw].

    The figure of a run is the mean over its seeds of the mean over a seed's folds.
    """
    seeds = sorted({repeat.seed for repeat in repeats})
    shares = resampler.seed_weights(seeds)
    total = np.zeros(resampler.draws)
    for number, seed in enumerate(seeds):
        folds = [_draws(metric, repeat.answers, resampler) for repeat in repeats if repeat.seed == seed]
        share = shares[:, number]
        total += np.where(share > 0, share * np.mean(folds, axis=0), 0.0)  # an undefined seed that is not drawn is 0
    return total


def value(metric: Metric, repeats: Sequence[Repeat]) -> float:
    """Return a run's figure: the mean over seeds of the mean over folds."""
    seeds = sorted({repeat.seed for repeat in repeats})
    return float(
        np.mean([np.mean([metric.value(each.answers) for each in repeats if each.seed == seed]) for seed in seeds])
    )


def interval(figure: float, values: Values) -> Interval:
    """Return a figure with the percentile interval of its bootstrap values."""
    defined = values[np.isfinite(values)]
    undefined = 1.0 - len(defined) / len(values)
    if len(defined) < 2:
        return Interval(value=figure, low=float("nan"), high=float("nan"), undefined=undefined)
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(defined, [tail, 100.0 - tail])
    return Interval(value=figure, low=float(low), high=float(high), undefined=undefined)


def judged(metric: Metric, repeats: Sequence[Repeat], resampler: Resampler) -> Interval:
    """Return a run's figure with its interval.

    Examples
    --------
    >>> from napari_mtlpath.evaluation.metrics import metrics_for
    >>> from napari_mtlpath.tasks import Regression
    >>> answers = Answers(
    ...     task=Regression(name="share"), truth=np.array([0.2, 0.4, 0.6]), logits=np.array([[0.3], [0.4], [0.7]]),
    ...     patients=("p", "q", "r"),
    ... )
    >>> metric = metrics_for(answers.task).by_name["mean_absolute_error"]
    >>> round(judged(metric, [Repeat(answers=answers)], Resampler("pqr")).value, 3)
    0.067
    """
    return draw(metric, repeats, resampler).interval


def _draws(metric: Metric, answers: Answers, resampler: Resampler) -> Values:
    with np.errstate(invalid="ignore", divide="ignore"):  # a draw may hold none of this fold's samples
        return np.concatenate([metric.compute(answers, weights) for weights in resampler.weights(answers.patients)])
