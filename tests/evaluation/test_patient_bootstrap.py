"""Intervals: patients are drawn whole, seeds are drawn too, and widths agree with closed forms."""

import numpy as np
import pytest

from napari_mtlpath.evaluation.intervals import Repeat, Resampler, distribution, interval, judged
from napari_mtlpath.evaluation.metrics import Answers, Metric, metrics_for
from napari_mtlpath.tasks import Classification, Regression

AMOUNT = Regression(name="share")
ERROR = metrics_for(AMOUNT).by_name["mean_absolute_error"]


def errors(values: np.ndarray, patients: tuple[str, ...]) -> Answers:
    """Answers whose mean absolute error is the mean of `values`: a figure with a known standard error."""
    return Answers(task=AMOUNT, truth=np.zeros(len(values)), logits=np.abs(values)[:, None], patients=patients)


def test_all_samples_of_a_patient_are_drawn_together() -> None:
    patients = ("a", "b", "a", "c", "b", "a")
    weights = np.concatenate(list(Resampler(patients, draws=50).weights(patients)))

    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 0], weights[:, 5])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()
    assert len(np.unique(weights[:, 0])) > 1


def test_the_interval_of_a_mean_is_as_wide_as_its_standard_error_says() -> None:
    values = np.random.default_rng(0).gamma(4.0, size=200)
    names = tuple(map(str, range(200)))

    drawn = distribution(ERROR, [Repeat(answers=errors(values, names))], Resampler(names, draws=4000))

    assert np.std(drawn) == pytest.approx(values.std() / np.sqrt(200), rel=0.05)
    found = interval(float(values.mean()), drawn)
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(200), rel=0.08)


def test_copies_of_a_patients_slides_do_not_make_an_interval_narrower() -> None:
    values = np.random.default_rng(1).gamma(4.0, size=60)
    names = tuple(map(str, range(60)))
    single = judged(ERROR, [Repeat(answers=errors(values, names))], Resampler(names, draws=500))
    tripled = judged(
        ERROR,
        [Repeat(answers=errors(np.repeat(values, 3), tuple(np.repeat(names, 3).tolist())))],
        Resampler(names, draws=500),
    )

    assert (tripled.low, tripled.high) == (pytest.approx(single.low), pytest.approx(single.high))


def test_seeds_add_their_variance_over_their_number() -> None:
    """With the same error in every patient only the seeds differ: the variance of their mean is s^2 / S, unbiased."""
    offsets = np.array([1.0, 1.4, 0.7, 1.1, 1.9])
    names = tuple(map(str, range(30)))
    repeats = [Repeat(answers=errors(np.full(30, offset), names), seed=seed) for seed, offset in enumerate(offsets)]

    drawn = distribution(ERROR, repeats, Resampler(names, draws=20_000))

    assert judged(ERROR, repeats, Resampler(names, draws=100)).value == pytest.approx(offsets.mean())
    assert np.var(drawn) == pytest.approx(offsets.var(ddof=1) / len(offsets), rel=0.05)


def test_patients_and_seeds_both_count() -> None:
    random = np.random.default_rng(2)
    names = tuple(map(str, range(40)))
    by_patient, offsets = random.gamma(4.0, size=40), np.array([0.0, 0.5, 1.0, 0.2])
    repeats = [Repeat(answers=errors(by_patient + offset, names), seed=seed) for seed, offset in enumerate(offsets)]

    drawn = distribution(ERROR, repeats, Resampler(names, draws=20_000))

    assert np.var(drawn) == pytest.approx(by_patient.var() / 40 + offsets.var(ddof=1) / 4, rel=0.06)


def test_folds_are_averaged_and_none_is_drawn_away() -> None:
    first, second = tuple("abc"), tuple("def")
    repeats = [
        Repeat(answers=errors(np.full(3, 1.0), first), fold=0),
        Repeat(answers=errors(np.full(3, 3.0), second), fold=1),
    ]

    found = judged(ERROR, repeats, Resampler(first + second, draws=300))

    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)
    assert 0 < found.undefined < 0.1  # a draw of six patients that holds none of a fold


def test_resamples_without_a_class_are_counted() -> None:
    task = Classification(name="tumour")
    names = tuple(map(str, range(20)))
    lonely = Answers(task=task, truth=np.array([1.0] + [0.0] * 19), logits=np.arange(20.0)[:, None], patients=names)

    found = judged(metrics_for(task).by_name["auroc"], [Repeat(answers=lonely)], Resampler(names, draws=4000))

    assert found.undefined == pytest.approx((19 / 20) ** 20, abs=0.03)  # the only positive is not drawn
    assert found.known


def test_the_nominal_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Independent samples of 100 patients: 95 % intervals of an AUROC hold the true value in 90 to 99 % of them."""
    from scipy.stats import norm

    task = Classification(name="tumour")
    metric: Metric = metrics_for(task).by_name["auroc"]
    names = tuple(map(str, range(100)))
    expected = norm.cdf(1.0 / np.sqrt(2.0))
    random = np.random.default_rng(3)
    resampler = Resampler(names, draws=300)
    held = 0
    for _ in range(200):
        truth = random.integers(0, 2, 100).astype(float)
        logits = (random.normal(size=100) + truth)[:, None]
        found = judged(
            metric, [Repeat(answers=Answers(task=task, truth=truth, logits=logits, patients=names))], resampler
        )
        held += found.low <= expected <= found.high

    assert 180 <= held <= 198
