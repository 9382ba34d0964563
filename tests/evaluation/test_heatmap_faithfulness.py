"""Faithfulness: known models and heatmaps give the areas of arithmetic, and blind ones do no better than chance."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from napari_mtlpath.evaluation.faithfulness import (
    RANDOM,
    STEPS,
    Curves,
    curves,
    differences,
    order_of,
    pointing,
    random_curves,
    summarise,
)

TILES = 200


def largest(weights: np.ndarray):
    """A model that answers with the largest weight among the tiles it sees."""
    return lambda kept: float(weights[kept].max())


def share(weights: np.ndarray):
    """A model that answers with the sum of the weights of the tiles it sees."""
    return lambda kept: float(weights[kept].sum())


def test_the_areas_of_an_additive_model_equal_their_closed_form() -> None:
    weights = np.full(TILES, 1.0 / TILES)
    steps = tuple(np.linspace(0, 1, 11))

    found = curves(share(weights), np.arange(TILES), steps=steps)

    # All but the ends are 1 - s and s; one tile is always left or there.
    np.testing.assert_allclose(found.deletion[:-1], 1 - np.array(steps)[:-1])
    np.testing.assert_allclose(found.insertion[1:], np.array(steps)[1:])
    assert found.deletion_area == pytest.approx(0.5, abs=0.001)
    assert found.insertion_area == pytest.approx(0.5, abs=0.001)


def test_the_true_ranking_deletes_fast_and_inserts_fast_and_its_reverse_the_opposite() -> None:
    weights = np.zeros(TILES)
    weights[17] = 1.0
    random = np.random.default_rng(0)

    true = curves(largest(weights), order_of(weights, random))
    reverse = curves(largest(weights), order_of(-weights, random))

    assert true.insertion_area == 1.0
    assert true.deletion_area < 0.005
    assert reverse.deletion_area > 0.9
    assert reverse.insertion_area < 0.06


def test_a_random_ranking_finds_one_tile_half_way() -> None:
    weights = np.zeros(TILES)
    weights[17] = 1.0

    found = random_curves(largest(weights), TILES, repeats=400, generator=np.random.default_rng(0))

    assert found.deletion_area == pytest.approx(0.5, abs=0.05)
    assert found.insertion_area == pytest.approx(0.5, abs=0.05)


def test_a_constant_heatmap_is_a_random_ranking_whatever_lies_first() -> None:
    weights = np.zeros(TILES)
    weights[0] = 1.0  # an order by index would find it at once
    random = np.random.default_rng(0)
    found = {
        "constant": [curves(largest(weights), order_of(np.zeros(TILES), random)) for _ in range(400)],
        RANDOM: [random_curves(largest(weights), TILES, repeats=2, generator=random) for _ in range(400)],
    }

    deletion, insertion = differences(found)["constant"]

    assert deletion.low < 0 < deletion.high
    assert insertion.low < 0 < insertion.high


def test_a_model_that_looks_at_nothing_cannot_be_explained_by_any_heatmap() -> None:
    random = np.random.default_rng(0)
    found = {
        name: [curves(lambda kept: 0.7, order_of(random.random(TILES), random)) for _ in range(5)]
        for name in ("routing", RANDOM)
    }

    deletion, insertion = differences(found)["routing"]

    assert (deletion.value, deletion.low, deletion.high) == (0.0, 0.0, 0.0)
    assert insertion.value == 0.0


def test_a_faithful_heatmap_is_better_than_chance_on_every_slide_and_the_interval_says_so() -> None:
    random = np.random.default_rng(1)
    slides = [random.random(TILES) ** 8 for _ in range(12)]
    found = {
        "attention": [curves(largest(each), order_of(each + 0.1 * random.random(TILES), random)) for each in slides],
        RANDOM: [random_curves(largest(each), TILES, repeats=5, generator=random) for each in slides],
    }

    deletion, insertion = differences(found)["attention"]
    summary = summarise(found["attention"])

    assert deletion.low > 0
    assert insertion.low > 0
    assert summary.insertion.low <= summary.insertion.value <= summary.insertion.high
    assert summary.mean.insertion[-1] == pytest.approx(np.mean([each.max() for each in slides]))


def test_the_model_is_never_asked_about_an_empty_bag_and_sees_tiles_in_order() -> None:
    asked: list[np.ndarray] = []

    def score(kept: np.ndarray) -> float:
        asked.append(kept)
        return 0.0

    curves(score, np.array([2, 0, 1]))

    assert len(asked) == 2 * len(STEPS)
    assert all(len(kept) > 0 and (np.diff(kept) > 0).all() for kept in asked)


def test_pointing_equals_independent_figures() -> None:
    random = np.random.default_rng(2)
    truth = random.random(TILES) < 0.05
    values = random.random(TILES) + 0.5 * truth
    top = np.argsort(-values)[: truth.sum()]

    found = pointing(values, truth)

    assert found.hit == float(truth[values.argmax()])
    assert found.precision == pytest.approx(truth[top].mean())
    assert found.auroc == pytest.approx(roc_auc_score(truth, values))
    assert found.average_precision == pytest.approx(average_precision_score(truth, values))


def test_a_constant_heatmap_points_as_well_as_a_blind_choice() -> None:
    truth = np.arange(TILES) < 7

    found = pointing(np.full(TILES, 1.0 / TILES), truth)

    assert found.hit == pytest.approx(found.base_rate)
    assert found.precision == pytest.approx(found.base_rate)
    assert found.auroc == 0.5
    assert found.average_precision == pytest.approx(found.base_rate)


def test_ties_at_the_cut_count_in_proportion() -> None:
    truth = np.array([True, True, False, False])

    assert pointing(np.array([0.9, 0.5, 0.5, 0.1]), truth).precision == pytest.approx((1 + 0.5) / 2)


def test_pointing_needs_something_to_point_at() -> None:
    with pytest.raises(ValueError, match="0 of 3"):
        pointing(np.zeros(3), np.zeros(3, dtype=bool))


def test_curves_of_slides_of_any_size_share_their_steps() -> None:
    small: Curves = curves(lambda kept: len(kept), np.arange(1))

    assert len(small.deletion) == len(STEPS)
    assert set(small.deletion) == {1}
