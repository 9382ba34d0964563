"""Figures of merit per task, each for many weightings of the samples at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, assert_never

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import softmax

from napari_mtlpath.evaluation.ranking import Ranks, auroc, average_precision, ranks, sensitivity_at
from napari_mtlpath.tasks import Classification, Regression, Task

Values: TypeAlias = Float[NDArray[np.float64], " draw"]
Weights: TypeAlias = Float[NDArray[np.float64], "draw sample"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """One task's truth and answers, without unknown labels.

    Attributes
    ----------
    task
        The question.
    truth
        Class index or value, [sample].
    logits
        The head's outputs, [sample, output].
    patients
        Whose each sample is, [sample].
    threshold
        Binary tasks: a sample is called positive from this logit on. Chosen on other data, or 0 (half and half).
    """

    task: Task
    truth: Float[NDArray[np.float64], " sample"]
    logits: Float[NDArray[np.float64], "sample output"]
    patients: tuple[str, ...]
    threshold: float = 0.0

    @property
    def chosen(self) -> Float[NDArray[np.float64], " sample"]:
        """The class each sample is called: the positive one from the threshold on, else the likeliest."""
        if self.logits.shape[1] == 1:
            return (self.logits[:, 0] >= self.threshold).astype(np.float64)
        return self.logits.argmax(1).astype(np.float64)

    @property
    def classes_present(self) -> tuple[int, ...]:
        """Classes that at least one sample truly has; macro figures are means over these."""
        return tuple(int(value) for value in np.unique(self.truth))

    def one_against_rest(self) -> list[tuple[NDArray[np.bool_], NDArray[np.float64]]]:
        """Return (is it truly this class, its score) for the positive class, or for each present class of several."""
        if self.logits.shape[1] == 1:
            return [(self.truth == 1, self.logits[:, 0])]
        shares = softmax(self.logits, axis=1)
        return [(self.truth == number, shares[:, number]) for number in self.classes_present]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One figure of merit.

    Attributes
    ----------
    name
        As in JSON and CSV.
    title
        As a person reads it.
    compute
        Maps answers and weights to one value per draw, NaN where the draw does not define it (a class is missing).
    higher_is_better
        Its direction.
    chance
        What an answer without knowledge reaches in expectation; None where that depends on the data.
    best
        The best possible value.
    """

    name: str
    title: str
    compute: Callable[[Answers, Weights], Values]
    higher_is_better: bool = True
    chance: float | None = None
    best: float = 1.0

    def value(self, answers: Answers) -> float:
        """Return the figure of the samples as they are."""
        return float(self.compute(answers, np.ones((1, len(answers.truth))))[0])


@dataclass(frozen=True, kw_only=True)
class MetricOptions:
    """What a user may choose: the specificity that sensitivity is given at."""

    specificity: float = 0.9

    def __post_init__(self) -> None:
        if not 0.0 < self.specificity < 1.0:
            raise ValueError(f"The specificity must lie between 0 and 1, such as 0.9; found {self.specificity}.")


@dataclass(frozen=True, kw_only=True)
class MetricSet:
    """The figures of one kind of task; `main` is the one that runs are compared and gains computed by."""

    metrics: tuple[Metric, ...]
    main: str
    by_name: Mapping[str, Metric] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {metric.name: metric for metric in self.metrics})


def metrics_for(task: Task, options: MetricOptions | None = None) -> MetricSet:
    """Return the figures of a task.

    Binary tasks are judged by their positive class; tasks with several classes by the mean over the classes, each
    against the rest (macro). In a resample that lacks a class such a figure is NaN.

    Examples
    --------
    >>> [metric.name for metric in metrics_for(Regression(name="share")).metrics]
    ['pearson', 'mean_absolute_error', 'r2']
    """
    match task:
        case Regression():
            return MetricSet(metrics=_REGRESSION, main="mean_absolute_error")
        case Classification():
            return MetricSet(metrics=_classification(task, options or MetricOptions()), main="auroc")
        case _:
            assert_never(task)


def _classification(task: Classification, options: MetricOptions) -> tuple[Metric, ...]:
    wanted = options.specificity
    several = "" if task.is_binary else "macro "
    ranking: list[tuple[str, str, Callable[[Ranks], Values], float | None]] = [
        ("auroc", f"{several}AUROC", auroc, 0.5),
        ("auprc", f"{several}AUPRC", average_precision, None),
        (
            "sensitivity_at_specificity",
            f"{several}sensitivity at specificity {wanted:g}",
            partial(sensitivity_at, specificity=wanted),
            1.0 - wanted,
        ),
    ]
    metrics = [
        Metric(name=name, title=title, compute=partial(_ranking, figure=figure), chance=chance)
        for name, title, figure, chance in ranking
    ]
    called = [
        Metric(
            name="balanced_accuracy",
            title="balanced accuracy",
            compute=_balanced_accuracy,
            chance=1.0 / len(task.classes),
        ),
        Metric(name="f1", title=f"{several}F1", compute=_f1),
    ]
    if task.is_binary:
        called = [
            Metric(name="sensitivity", title="sensitivity at the operating point", compute=partial(_recall, of=1)),
            Metric(name="specificity", title="specificity at the operating point", compute=partial(_recall, of=0)),
            *called,
        ]
    return (*metrics, *called)


def _ranking(answers: Answers, weights: Weights, *, figure: Callable[[Ranks], Values]) -> Values:
    pairs = answers.one_against_rest()
    return np.mean([figure(ranks(positive, scores, weights)) for positive, scores in pairs], axis=0)


def _share(weights: Weights, part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> Values:
    below = weights @ whole.astype(np.float64)
    above = weights @ (part & whole).astype(np.float64)
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _recall(answers: Answers, weights: Weights, *, of: int) -> Values:
    return _share(weights, answers.chosen == of, answers.truth == of)


def _balanced_accuracy(answers: Answers, weights: Weights) -> Values:
    present = answers.classes_present
    if len(present) < 2:
        return np.full(len(weights), np.nan)
    return np.mean([_recall(answers, weights, of=number) for number in present], axis=0)


def _f1(answers: Answers, weights: Weights) -> Values:
    binary = answers.logits.shape[1] == 1
    return np.mean(
        [_f1_of(answers, weights, of=number) for number in ((1,) if binary else answers.classes_present)], axis=0
    )


def _f1_of(answers: Answers, weights: Weights, *, of: int) -> Values:
    truly, called = answers.truth == of, answers.chosen == of
    right = weights @ (truly & called).astype(np.float64)
    existing = weights @ truly.astype(np.float64)
    both = existing + weights @ called.astype(np.float64)
    return np.divide(2.0 * right, both, out=np.full_like(right, np.nan), where=existing > 0)


def _moments(values: NDArray[np.float64], weights: Weights) -> tuple[Values, NDArray[np.float64]]:
    mean = weights @ values / weights.sum(1)
    return mean, values[None, :] - mean[:, None]


def _pearson(answers: Answers, weights: Weights) -> Values:
    said = answers.logits[:, 0]
    if np.ptp(said) == 0 or np.ptp(answers.truth) == 0:  # rounding would make a correlation of nothing
        return np.full(len(weights), np.nan)
    _, truth = _moments(answers.truth, weights)
    _, given = _moments(said, weights)
    product = np.sum(weights * truth * given, axis=1)
    spread = np.sqrt(np.sum(weights * truth**2, axis=1) * np.sum(weights * given**2, axis=1))
    return np.divide(product, spread, out=np.full_like(product, np.nan), where=spread > 0)


def _mean_error(answers: Answers, weights: Weights) -> Values:
    return weights @ np.abs(answers.logits[:, 0] - answers.truth) / weights.sum(1)


def _r2(answers: Answers, weights: Weights) -> Values:
    left = weights @ (answers.logits[:, 0] - answers.truth) ** 2
    _, truth = _moments(answers.truth, weights)
    spread = np.sum(weights * truth**2, axis=1)
    explained = np.divide(left, spread, out=np.full_like(left, np.nan), where=spread > 0)
    return 1.0 - explained


_REGRESSION = (
    Metric(name="pearson", title="Pearson correlation", compute=_pearson, chance=0.0),
    Metric(
        name="mean_absolute_error",
        title="mean absolute error",
        compute=_mean_error,
        higher_is_better=False,
        best=0.0,
    ),
    Metric(name="r2", title="R2", compute=_r2, chance=0.0),
)
