"""How far probabilities lie from what happens: reliability bins, their mean error, and what chance alone would show."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from napari_mtlpath.evaluation.calibrate import Calibration, NotCalibrated, calibrate, probabilities
from napari_mtlpath.evaluation.intervals import Interval, Resampler, interval
from napari_mtlpath.evaluation.metrics import Answers, Values, Weights

BINS = 10
FOLDS = 5
SIMULATIONS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class Reliability:
    """Samples in bins of equal number, by rising probability.

    Attributes
    ----------
    said, happened
        Mean probability and share of the class in each bin, [bin].
    low, high
        Bootstrap interval of `happened`, [bin].
    samples
        In each bin, [bin].
    """

    said: Float[NDArray[np.float64], " bin"]
    happened: Float[NDArray[np.float64], " bin"]
    low: Float[NDArray[np.float64], " bin"]
    high: Float[NDArray[np.float64], " bin"]
    samples: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class CalibrationError:
    """Expected calibration error (ECE) with what it rests on.

    Attributes
    ----------
    ece
        Mean over bins of |said - happened|, weighted by the bins' samples; 0 is perfect. Its interval is corrected for
        the bias that resampling adds.
    by_chance
        ECE that a perfectly calibrated model would show with these probabilities and this number of samples, because
        bins are small (mean over simulated labels; Broecker and Smith, 2007). An ECE near it is no evidence of error.
    brier
        Mean squared difference of the probability and the outcome.
    """

    ece: Interval
    by_chance: float
    brier: Interval


def stated(
    answers: Answers, logits: Float[NDArray[np.float64], "sample output"]
) -> tuple[Float[NDArray[np.float64], " sample"], Float[NDArray[np.float64], " sample"]]:
    """Return what is checked: the positive class's probability and whether it is true.

    With several classes: the likeliest class's probability, and whether it is the right one.
    """
    shares = probabilities(logits)
    if shares.shape[1] == 2:
        return shares[:, 1], (answers.truth == 1).astype(np.float64)
    return shares.max(1), (shares.argmax(1) == answers.truth).astype(np.float64)


def calibration_error(
    answers: Answers,
    logits: Float[NDArray[np.float64], "sample output"],
    resampler: Resampler,
    *,
    bins: int = BINS,
) -> CalibrationError:
    """Return the calibration error of logits with bootstrap intervals over patients.

    Examples
    --------
    >>> from napari_mtlpath.tasks import Classification
    >>> truth = np.array([0.0, 1.0, 1.0, 1.0])
    >>> answers = Answers(
    ...     task=Classification(name="tumour"), truth=truth, logits=np.zeros((4, 1)), patients=("a", "b", "c", "d"),
    ... )
    >>> calibration_error(answers, answers.logits, Resampler("abcd")).ece.value  # says 1/2, happens in 3 of 4
    0.25
    """
    probability, outcome = stated(answers, logits)
    whole = np.ones((1, len(outcome)))
    errors, squares = [], []
    for weights in resampler.weights(answers.patients):
        errors.append(ece(probability, outcome, weights, bins=bins))
        squares.append(weights @ (probability - outcome) ** 2 / weights.sum(1))
    random = np.random.default_rng(resampler.seed)
    imagined = (random.random((SIMULATIONS, len(outcome))) < probability).astype(np.float64)
    chance = np.mean([ece(probability, labels, whole, bins=bins)[0] for labels in imagined])
    error, drawn = float(ece(probability, outcome, whole, bins=bins)[0]), np.concatenate(errors)
    # Drawing again adds noise of its own to every bin's gap: without taking it off, the interval lies too high.
    centred = np.maximum(drawn - (float(np.mean(drawn)) - error), 0.0)
    return CalibrationError(
        ece=interval(error, centred),
        by_chance=float(chance),
        brier=interval(float(np.mean((probability - outcome) ** 2)), np.concatenate(squares)),
    )


def ece(
    probability: Float[NDArray[np.float64], " sample"],
    outcome: Float[NDArray[np.float64], " sample"],
    weights: Weights,
    *,
    bins: int = BINS,
) -> Values:
    """Return the expected calibration error over bins of equal number, one value per weighting, [draw]."""
    place = _bins(probability, bins)
    total = weights.sum(1)
    gaps = np.zeros(len(weights))
    for number in range(int(place.max()) + 1):
        inside = place == number
        gaps += np.abs(weights[:, inside] @ (outcome - probability)[inside])
    return gaps / total


def reliability(
    answers: Answers,
    logits: Float[NDArray[np.float64], "sample output"],
    resampler: Resampler,
    *,
    bins: int = BINS,
) -> Reliability:
    """Return what was said and what happened, bin by bin."""
    probability, outcome = stated(answers, logits)
    place = _bins(probability, bins)
    numbers = range(int(place.max()) + 1)
    drawn: list[list[Values]] = [[] for _ in numbers]
    for weights in resampler.weights(answers.patients):
        for number in numbers:
            inside = place == number
            count = weights[:, inside].sum(1)
            happened = weights[:, inside] @ outcome[inside]
            drawn[number].append(np.divide(happened, count, out=np.full_like(count, np.nan), where=count > 0))
    happened = np.array([outcome[place == number].mean() for number in numbers])
    limits = [interval(float(mean), np.concatenate(values)) for mean, values in zip(happened, drawn, strict=True)]
    return Reliability(
        said=np.array([probability[place == number].mean() for number in numbers]),
        happened=happened,
        low=np.array([limit.low for limit in limits]),
        high=np.array([limit.high for limit in limits]),
        samples=np.array([np.count_nonzero(place == number) for number in numbers]),
    )


def cross_fitted_logits(
    answers: Answers, calibration: Calibration, *, seed: int = 0
) -> Float[NDArray[np.float64], "sample output"]:
    """Return each sample's logits after a calibration that was fitted without its patient (5 folds of patients).

    The error of a calibration on the data it was fitted on is too small; this is the honest one. Where a fold leaves
    too few patients to fit on, its samples keep the calibration of all.
    """
    patients = np.array(answers.patients)
    names = np.random.default_rng(seed).permutation(np.unique(patients))
    result = calibration.logits(answers.logits)
    for fold in range(FOLDS):
        held = np.isin(patients, names[fold::FOLDS])
        rest = Answers(
            task=answers.task,
            truth=answers.truth[~held],
            logits=answers.logits[~held],
            patients=tuple(patients[~held].tolist()),
        )
        try:
            fitted = calibrate(rest, method=calibration.method)
        except NotCalibrated:
            continue
        result[held] = fitted.logits(answers.logits[held])
    return result


def _bins(probability: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Return each sample's bin; equal probabilities share one, so that no order among them matters."""
    ordered = np.sort(probability)
    edges = ordered[[len(ordered) * number // bins for number in range(1, bins)]]
    place = np.searchsorted(np.unique(edges), probability, side="right")
    return np.unique(place, return_inverse=True)[1].astype(np.int64)
