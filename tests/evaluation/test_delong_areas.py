"""DeLong's covariance equals its definition by pairs and agrees with the bootstrap; patients are kept whole."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from napari_mtlpath.evaluation.delong import compare_areas, delong


def scores(*, seed: int, count: int = 50, models: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    positive = random.random(count) < 0.4
    common = random.normal(size=count) + positive
    return positive, np.round(common + random.normal(size=(models, count)), 1)


def brute_force(positive: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong et al. (1988), eqs. 4 to 6, pair by pair."""
    wins = []
    for row in given:
        first, second = row[positive][:, None], row[~positive][None, :]
        wins.append((first > second) + 0.5 * (first == second))
    table = np.array(wins)
    by_positive, by_negative = table.mean(2), table.mean(1)
    covariance = np.cov(by_positive) / positive.sum() + np.cov(by_negative) / (~positive).sum()
    return table.mean((1, 2)), covariance


@pytest.mark.parametrize("seed", range(3))
def test_midranks_give_the_areas_and_covariance_of_all_pairs(seed: int) -> None:
    positive, given = scores(seed=seed)
    values, covariance = brute_force(positive, given)

    found = delong(positive, given)

    np.testing.assert_allclose(found.values, values, atol=1e-12)
    np.testing.assert_allclose(found.values, [roc_auc_score(positive, row) for row in given], atol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-14)


def test_one_slide_per_patient_changes_nothing() -> None:
    positive, given = scores(seed=4)

    alone = delong(positive, given)
    named = delong(positive, given, [f"patient {number}" for number in range(len(positive))])

    np.testing.assert_allclose(named.covariance, alone.covariance, atol=1e-15)


def test_copied_slides_do_not_make_a_test_surer() -> None:
    positive, given = scores(seed=5)
    names = [str(number) for number in range(len(positive))]
    once = delong(positive, given, names)

    thrice = delong(np.tile(positive, 3), np.tile(given, 3), names * 3)
    naive = delong(np.tile(positive, 3), np.tile(given, 3))

    np.testing.assert_allclose(thrice.values, once.values, atol=1e-12)
    np.testing.assert_allclose(thrice.covariance, once.covariance, atol=1e-12)
    assert (np.diag(naive.covariance) < 0.4 * np.diag(once.covariance)).all()


def drawn_areas(positive: np.ndarray, row: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Areas of resamples given as counts, [draw], from the table of all pairs."""
    first, second = row[positive][:, None], row[~positive][None, :]
    wins = (first > second) + 0.5 * (first == second)
    of_positive, of_negative = weights[:, positive], weights[:, ~positive]
    return ((of_positive @ wins) * of_negative).sum(1) / (of_positive.sum(1) * of_negative.sum(1))


def test_the_standard_error_of_a_difference_agrees_with_the_bootstrap() -> None:
    positive, given = scores(seed=6, count=300, models=2)
    weights = np.random.default_rng(0).multinomial(300, np.full(300, 1 / 300), size=3000).astype(float)
    drawn = drawn_areas(positive, given[0], weights) - drawn_areas(positive, given[1], weights)

    test = compare_areas(delong(positive, given), 0, 1)

    assert test.standard_error == pytest.approx(np.std(drawn), rel=0.06)


def test_clustered_variance_agrees_with_a_bootstrap_of_patients() -> None:
    random = np.random.default_rng(7)
    patients = np.repeat(np.arange(120), 3)
    positive = random.random(120)[patients] + 0.4 * random.random(360) < 0.55  # patients with slides of both kinds
    given = random.normal(size=120)[patients] + 0.5 * random.normal(size=360) + positive
    weights = random.multinomial(120, np.full(120, 1 / 120), size=3000)[:, patients].astype(float)

    found = delong(positive, given[None], [str(name) for name in patients])

    assert np.sqrt(found.covariance[0, 0]) == pytest.approx(np.std(drawn_areas(positive, given, weights)), rel=0.06)


def test_equal_scores_do_not_differ() -> None:
    positive, given = scores(seed=8, models=1)

    assert compare_areas(delong(positive, np.vstack([given, given])), 0, 1).p_value == 1.0


def test_under_no_difference_p_values_are_uniform() -> None:
    p_values = []
    for seed in range(300):
        positive, given = scores(seed=1000 + seed, count=80, models=2)
        p_values.append(compare_areas(delong(positive, given), 0, 1).p_value)

    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09
    assert 0.4 <= np.mean(p_values) <= 0.6


def test_an_area_needs_both_classes() -> None:
    with pytest.raises(ValueError, match="one class only"):
        delong(np.ones(3, dtype=bool), np.zeros((1, 3)))
