"""Runs are compared on the same patients, many questions are paid for, and overlapping intervals are not ranked."""

import numpy as np
import pytest

from napari_mtlpath.evaluation.delong import compare_areas, delong
from napari_mtlpath.evaluation.gain import gains, relative_gain
from napari_mtlpath.evaluation.intervals import Drawn, Interval, Repeat, Resampler, draw
from napari_mtlpath.evaluation.metrics import Answers, Metric, metrics_for
from napari_mtlpath.evaluation.paired import (
    BOOTSTRAP,
    DELONG,
    bootstrap_p_value,
    difference,
    groups_apart,
    holm,
    ranking_words,
)
from napari_mtlpath.tasks import Classification, Regression

BINARY = Classification(name="tumour")
AMOUNT = Regression(name="share")
NAMES = tuple(map(str, range(120)))


def binary(*, noise: float, seed: int = 0) -> Answers:
    random = np.random.default_rng(5)
    truth = random.integers(0, 2, 120).astype(float)
    common = random.normal(size=120) + 1.2 * truth
    logits = common + noise * np.random.default_rng(seed).normal(size=120)
    return Answers(task=BINARY, truth=truth, logits=logits[:, None], patients=NAMES)


def regression(said: np.ndarray, truth: np.ndarray) -> Answers:
    return Answers(task=AMOUNT, truth=truth, logits=said[:, None], patients=NAMES)


def drawn(metric: Metric, *answers: Answers, draws: int = 300) -> Drawn:
    repeats = [Repeat(answers=each, seed=seed) for seed, each in enumerate(answers)]
    return draw(metric, repeats, Resampler(answers[0].patients, draws=draws))


def test_single_runs_are_compared_by_delong() -> None:
    metric = metrics_for(BINARY).by_name["auroc"]
    good, bad = binary(noise=0.0), binary(noise=2.0, seed=1)
    expected = compare_areas(delong(good.truth == 1, np.stack([good.logits[:, 0], bad.logits[:, 0]])), 0, 1)

    found = difference(drawn(metric, good), drawn(metric, bad))

    assert found is not None
    assert (found.test, found.p_value) == (DELONG, expected.p_value)
    assert found.interval.value == pytest.approx(metric.value(good) - metric.value(bad))


def test_pairing_sees_a_small_difference_that_two_intervals_hide() -> None:
    random = np.random.default_rng(0)
    truth = random.random(120)
    hard = random.gamma(2.0, 0.1, size=120)  # how hard a patient is, for both alike
    metric = metrics_for(AMOUNT).by_name["mean_absolute_error"]
    first, second = (
        drawn(metric, regression(truth + hard + more, truth), draws=1000)
        for more in (0.0, 0.01 + 0.01 * random.random(120))
    )

    found = difference(second, first)

    assert found is not None
    assert found.test == BOOTSTRAP
    assert found.interval.value == pytest.approx(0.015, abs=0.002)
    assert found.interval.low > 0
    assert found.p_value == pytest.approx(2 / 1001)


def test_different_samples_cannot_be_paired() -> None:
    metric = metrics_for(BINARY).by_name["f1"]
    other = binary(noise=0.1)
    other = Answers(task=BINARY, truth=other.truth, logits=other.logits, patients=tuple(f"q{name}" for name in NAMES))

    assert difference(drawn(metric, binary(noise=0.0)), drawn(metric, other)) is None


def test_several_seeds_are_compared_by_the_bootstrap_and_identical_runs_do_not_differ() -> None:
    metric = metrics_for(BINARY).by_name["auroc"]
    seeds = drawn(metric, *(binary(noise=1.0, seed=seed) for seed in range(3)))

    found = difference(seeds, seeds)

    assert found is not None
    assert (found.test, found.p_value, found.interval.low, found.interval.high) == (BOOTSTRAP, 1.0, 0.0, 0.0)


def test_the_bootstrap_p_value_fits_its_interval() -> None:
    drawn = np.random.default_rng(0).normal(1.0, 1.0, 9999)

    p_value = bootstrap_p_value(drawn)
    low, high = np.percentile(drawn, [50 * p_value, 100 - 50 * p_value])

    assert p_value == pytest.approx(2 * 0.1587, abs=0.02)  # P(N(1, 1) < 0), twice
    assert min(abs(low), abs(high)) < 0.01


def test_holm_equals_the_definition_and_leaves_the_unknown_out() -> None:
    found = holm({"a": 0.01, "b": 0.02, "c": 0.2, "d": float("nan"), "e": 0.9})

    assert [found[name] for name in "abce"] == pytest.approx([0.04, 0.06, 0.4, 0.9])
    assert np.isnan(found["d"])


def test_overlapping_intervals_are_not_ranked_and_it_says_so() -> None:
    figures = {
        "mecds": Interval(value=0.90, low=0.85, high=0.95),
        "abmil": Interval(value=0.88, low=0.80, high=0.93),
        "majority": Interval(value=0.50, low=0.50, high=0.50),
    }

    assert groups_apart(figures, higher_is_better=True) == [["mecds", "abmil"], ["majority"]]
    assert groups_apart(figures, higher_is_better=False) == [["majority"], ["abmil", "mecds"]]
    words = ranking_words(figures, higher_is_better=True, what="AUROC of tumour")
    assert words == (
        "AUROC of tumour: mecds and abmil ahead of majority. No ranking among mecds and abmil: their intervals overlap."
    )
    del figures["majority"]
    assert ranking_words(figures, higher_is_better=True, what="AUROC") == (
        "AUROC: no ranking, because the intervals overlap."
    )


@pytest.mark.parametrize(
    ("alone", "together", "expected"),
    [  # CTAN, table 2: the rows whose figures are printed with enough digits
        ((92.83, 49.24), (92.21, 55.49), (-0.68, 12.69, 6.01)),
        ((92.83, 49.24), (92.91, 57.85), (0.09, 17.49, 8.79)),
        ((71.88, 55.83), (63.84, 68.17), (-11.18, 22.09, 5.45)),
        ((71.88, 55.83), (57.55, 61.30), (-19.93, 9.79, -5.07)),
        ((71.88, 55.83), (68.73, 64.66), (-4.38, 15.81, 5.72)),
    ],
)
def test_the_gain_reproduces_a_published_table(
    alone: tuple[float, float], together: tuple[float, float], expected: tuple[float, float, float]
) -> None:
    found = [relative_gain(*pair, higher_is_better=True) for pair in zip(together, alone, strict=True)]

    assert [*found, np.mean(found)] == pytest.approx(expected, abs=0.02)  # figures of two decimals


def test_gains_are_averaged_over_tasks_of_both_directions() -> None:
    random = np.random.default_rng(1)
    truth = random.random(120)
    error = metrics_for(AMOUNT).by_name["mean_absolute_error"]
    area = metrics_for(BINARY).by_name["auroc"]
    noise = random.normal(size=120)
    pairs = {
        "share": (
            drawn(error, regression(truth + 0.1 * noise, truth)),
            drawn(error, regression(truth + 0.2 * noise, truth)),
        ),
        "tumour": (drawn(area, binary(noise=1.0)), drawn(area, binary(noise=0.0))),
    }

    found = gains(pairs)

    assert found.by_task["share"].value == pytest.approx(50.0)
    assert found.by_task["share"].low == pytest.approx(50.0)  # half the error in every patient
    lost = 100 * (area.value(binary(noise=1.0)) / area.value(binary(noise=0.0)) - 1)
    assert found.by_task["tumour"].value == pytest.approx(lost)
    assert found.mean.value == pytest.approx((50 + lost) / 2)
    assert found.mean.low < found.mean.value < found.mean.high
