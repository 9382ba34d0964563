"""Figures of merit: equal to scikit-learn's, with intervals that hold what they should."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score

from napari_mtlpath.training.evaluation import auc, estimate, macro_f1, majority, mean_over_columns, r2
from napari_mtlpath.training.smears.smear_figures import enrichment, highest


def test_macro_f1_equals_the_library():
    random = np.random.default_rng(0)
    for _ in range(20):
        truth, answers = random.integers(0, 5, 60).astype(float), random.integers(0, 6, 60).astype(float)
        expected = f1_score(truth, answers, average="macro", labels=np.unique(truth), zero_division=0.0)
        assert macro_f1(truth, answers) == pytest.approx(expected)


def test_area_under_the_curve_equals_the_library_ties_included():
    random = np.random.default_rng(0)
    for _ in range(20):
        truth, answers = random.integers(0, 2, 60).astype(float), random.integers(0, 9, 60).astype(float)
        assert auc(truth, answers) == pytest.approx(roc_auc_score(truth, answers), rel=1e-12)
    with pytest.raises(ValueError, match="both classes"):
        auc(np.zeros(3), np.arange(3.0))


def test_interval_holds_the_value_and_narrows_with_more_samples():
    random = np.random.default_rng(1)

    def width(count: int) -> float:
        truth = np.arange(count) % 2.0
        found = estimate(auc, truth, truth + random.normal(0, 1, count), repeats=200)
        assert found.low <= found.value <= found.high
        return found.high - found.low

    assert width(1000) < width(60) / 2


def test_interval_of_a_perfect_answer_is_a_point():
    truth = np.arange(40) % 2.0
    found = estimate(auc, truth, truth, repeats=50)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
    assert found.row("auc", floor=0.5) == {"auc": 1.0, "auc_floor": 0.5, "auc_low": 1.0, "auc_high": 1.0}


def test_mean_over_columns_averages_tasks():
    truth = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]])
    said = np.stack([truth[:, 0], np.full(3, 2.0)], axis=1)
    assert mean_over_columns(r2)(truth, said) == pytest.approx(0.5)


def test_majority_ignores_unknown_labels():
    assert majority(np.array([1.0, np.nan, np.nan, np.nan, 1.0, 0.0])) == 1.0


def test_enrichment_is_one_for_a_blind_choice_and_the_inverse_rate_for_a_perfect_one():
    witness = torch.zeros(100, dtype=torch.bool)
    witness[:5] = True
    assert enrichment(torch.ones(100, dtype=torch.bool), witness) == pytest.approx(1.0)
    assert enrichment(witness, witness) == pytest.approx(20.0)
    assert torch.equal(highest(torch.arange(100.0).flip(0), 5), witness)
