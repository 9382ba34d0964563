"""Dice of masks, and the relative performance of the published table."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from napari_mtlpath.evaluation.gain import relative_gain
from napari_mtlpath.evaluation.segmentation import dice_interval, mean_dice, overlap, tile_draws

RANDOM = np.random.default_rng(0)
TRUE, SAID = (RANDOM.integers(0, 4, (6, 9, 7)) for _ in range(2))


def test_dice_is_the_f1_score_of_pixels():
    found = overlap(SAID, TRUE, classes=4, unknown=255).dice()[0]
    expected = f1_score(TRUE.ravel(), SAID.ravel(), labels=[1, 2, 3], average=None)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_unknown_pixels_count_neither_as_truth_nor_as_prediction():
    true = TRUE.copy()
    true[:, :4] = 255
    cut = overlap(SAID[:, 4:], TRUE[:, 4:], classes=4, unknown=255)
    found = overlap(SAID, true, classes=4, unknown=255)
    np.testing.assert_array_equal(found.dice(), cut.dice())


def test_a_class_that_is_nowhere_has_no_dice_and_is_left_out_of_the_mean():
    said, true = np.array([[[1, 1, 0]]]), np.array([[[1, 0, 0]]])
    found = overlap(said, true, classes=3, unknown=255)
    assert np.isnan(found.dice()[0, 1])
    assert mean_dice(found)[0] == pytest.approx(2 / 3)


def test_resampling_whole_groups_weighs_their_tiles_alike():
    draws = tile_draws(np.array(["a", "b", "a", "c", "b", "c"]), draws=50)
    assert (draws[:, 0] == draws[:, 2]).all()
    assert (draws[:, 1] == draws[:, 4]).all()
    assert (draws[:, [0, 1, 3]].sum(1) == 3).all()
    found = overlap(SAID, TRUE, classes=4, unknown=255)
    np.testing.assert_allclose(
        mean_dice(found, np.array([[2.0, 0, 0, 0, 0, 0]])),
        mean_dice(overlap(SAID[:1], TRUE[:1], classes=4, unknown=255)),
    )
    span = dice_interval(found, draws)
    assert span.low < span.value < span.high


@pytest.mark.parametrize(
    ("together", "alone", "higher", "printed"),
    [
        (83.28, 81.96, True, 1.61),  # Prostate, HPS; the table prints 1.74 from unrounded figures
        (82.40, 81.96, True, 0.54),
        (75.47, 81.96, True, -7.92),
        (92.21, 92.83, True, -0.67),  # HAM10000, HPS and CTAN
        (55.49, 49.24, True, 12.69),
        (92.91, 92.83, True, 0.09),
        (57.85, 49.24, True, 17.49),
        (63.84, 71.88, True, -11.19),  # STOIC
        (68.17, 55.83, True, 22.10),
        (64.66, 55.83, True, 15.82),
        (0.89, 0.93, False, 4.30),  # a dose: lower is better; printed 3.82 from unrounded figures
    ],
)
def test_relative_performance_equals_the_published_table(together: float, alone: float, higher: bool, printed: float):
    assert relative_gain(together, alone, higher_is_better=higher) == pytest.approx(printed, abs=0.006)


def test_the_mean_over_tasks_is_that_of_the_published_table():
    pairs = ((92.91, 92.83), (57.85, 49.24))
    assert np.mean([relative_gain(m, b, higher_is_better=True) for m, b in pairs]) == pytest.approx(8.79, abs=0.006)
