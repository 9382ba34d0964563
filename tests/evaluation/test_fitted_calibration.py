"""Calibration finds the truth behind scores, agrees with what inference applies, and refuses what it cannot do."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from napari_mtlpath.evaluation.calibrate import (
    Method,
    NotCalibrated,
    calibrate,
    calibrated_logits,
    probabilities,
)
from napari_mtlpath.evaluation.calibration_error import calibration_error, cross_fitted_logits, ece, reliability
from napari_mtlpath.evaluation.intervals import Resampler
from napari_mtlpath.evaluation.metrics import Answers
from napari_mtlpath.inference.calibration import calibrated
from napari_mtlpath.tasks import Classification, Regression

BINARY = Classification(name="tumour")
SEVERAL = Classification(name="grade", classes=("low", "middle", "high"))


def binary(*, count: int, slope: float = 0.4, intercept: float = -1.2, seed: int = 0) -> Answers:
    random = np.random.default_rng(seed)
    logits = 3.0 * random.normal(size=(count, 1))
    truth = (random.random(count) < expit(slope * logits[:, 0] + intercept)).astype(float)
    return Answers(task=BINARY, truth=truth, logits=logits, patients=tuple(map(str, range(count))))


def test_platt_scaling_equals_an_unpenalised_logistic_regression() -> None:
    answers = binary(count=5000)
    known = LogisticRegression(C=np.inf, tol=1e-10).fit(answers.logits, answers.truth)

    found = calibrate(answers, method=Method.PLATT).parameters

    # Platt's targets move 1 / (n + 2) towards the middle.
    assert found["slope"] == pytest.approx(known.coef_[0, 0], rel=5e-3)
    assert found["intercept"] == pytest.approx(known.intercept_[0], rel=5e-3)


def test_temperature_is_the_minimum_of_the_log_loss() -> None:
    random = np.random.default_rng(1)
    logits = 4.0 * random.normal(size=(3000, 3))
    shares = softmax(logits / 2.5, axis=1)
    truth = np.array([random.choice(3, p=row) for row in shares]).astype(float)
    answers = Answers(task=SEVERAL, truth=truth, logits=logits, patients=tuple(map(str, range(3000))))

    found = calibrate(answers).parameters["temperature"]

    assert found == pytest.approx(2.5, rel=0.08)
    losses = [log_loss(truth, softmax(logits / each, axis=1)) for each in (0.98 * found, found, 1.02 * found)]
    assert losses[1] == min(losses)


@pytest.mark.parametrize("parameters", [{"temperature": 1.7}, {"slope": 0.4, "intercept": -0.3}])
def test_judging_and_inference_apply_a_calibration_alike(parameters: dict[str, float]) -> None:
    raw = np.random.default_rng(2).normal(size=(5, 1))

    ours = calibrated_logits(raw, parameters)
    shown = np.stack([calibrated(row, parameters) for row in raw])

    np.testing.assert_array_equal(ours, shown)


def test_separated_classes_get_a_finite_slope() -> None:
    truth = np.repeat([0.0, 1.0], 20)
    answers = Answers(task=BINARY, truth=truth, logits=(2 * truth - 1)[:, None], patients=tuple(map(str, range(40))))

    for method in Method:
        found = calibrate(answers, method=method)
        assert np.isfinite(list(found.parameters.values())).all()
    assert probabilities(calibrate(answers).logits(answers.logits))[-1, 1] == pytest.approx(21 / 22, abs=1e-3)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (binary(count=12), "calibration needs 10"),
        (binary(count=400, slope=-1.0, intercept=0.0), "do not mean"),
        (
            Answers(task=Regression(name="share"), truth=np.zeros(2), logits=np.zeros((2, 1)), patients=("a", "b")),
            "not probabilities",
        ),
    ],
)
def test_what_cannot_be_calibrated_is_said(answers: Answers, words: str) -> None:
    with pytest.raises(NotCalibrated, match=words):
        calibrate(answers)


def test_few_patients_with_many_slides_are_still_few() -> None:
    many = binary(count=600)
    few = Answers(task=BINARY, truth=many.truth, logits=many.logits, patients=tuple(f"p{n % 8}" for n in range(600)))

    with pytest.raises(NotCalibrated, match="8 patients"):
        calibrate(few)


def test_the_error_of_true_probabilities_is_what_chance_shows_and_calibration_brings_it_there() -> None:
    answers, fresh = binary(count=2000), binary(count=2000, seed=9)
    resampler = Resampler(fresh.patients, draws=200)

    raw = calibration_error(fresh, fresh.logits, resampler)
    fitted = calibration_error(fresh, calibrate(answers).logits(fresh.logits), resampler)

    assert raw.ece.low > 0.15
    assert fitted.ece.value < 2 * fitted.by_chance
    assert fitted.by_chance == pytest.approx(0.02, abs=0.015)
    assert fitted.brier.high < raw.brier.low


def test_the_calibration_error_equals_its_definition() -> None:
    probability = np.linspace(0.05, 0.95, 10)
    outcome = np.array([0.0, 0, 0, 1, 0, 1, 1, 0, 1, 1])
    pairs = [slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8), slice(8, 10)]
    expected = np.mean([abs(probability[each].mean() - outcome[each].mean()) for each in pairs])

    found = ece(probability, outcome, np.ones((1, 10)), bins=5)

    assert found[0] == pytest.approx(expected)
    assert ece(probability, outcome, 3 * np.ones((1, 10)), bins=5)[0] == pytest.approx(expected)


def test_equal_probabilities_stay_in_one_bin_whatever_their_order() -> None:
    probability, outcome = np.full(8, 0.25), np.array([1.0, 1, 0, 0, 0, 0, 0, 0])

    assert ece(probability, outcome, np.ones((1, 8)), bins=4)[0] == 0.0


def test_reliability_bins_hold_equal_numbers_and_surround_the_truth() -> None:
    answers = binary(count=1000, slope=1.0, intercept=0.0)

    found = reliability(answers, answers.logits, Resampler(answers.patients, draws=200))

    assert set(found.samples.tolist()) == {100}
    assert (np.diff(found.said) > 0).all()
    assert ((found.low <= found.said) & (found.said <= found.high)).mean() >= 0.7


def test_cross_fitting_never_shows_a_calibration_its_own_patients() -> None:
    """One patient's labels are turned round: with that patient left out, its calibrated logits do not change."""
    answers = binary(count=300)
    turned = Answers(
        task=BINARY,
        truth=np.where(np.arange(300) == 7, 1.0 - answers.truth, answers.truth),
        logits=answers.logits,
        patients=answers.patients,
    )

    before, after = (cross_fitted_logits(each, calibrate(each)) for each in (answers, turned))

    assert before[7, 0] == after[7, 0]
    assert not np.array_equal(before, after)
