"""Settings ranked over tasks: reference values by hand."""

import numpy as np
import pytest

from napari_mtlpath.evaluation.mean_ranks import best_setting, mean_ranks, ranks

SCORES = np.array([[0.91, 0.70, 0.55], [0.90, 0.80, 0.55], [0.60, 0.75, 0.99]])


def test_the_best_has_rank_one_and_ties_share_the_mean_of_theirs() -> None:
    assert ranks(SCORES).tolist() == [[1.0, 3.0, 2.5], [2.0, 1.0, 2.5], [3.0, 2.0, 1.0]]


def test_mean_ranks_are_over_all_left_out_tasks() -> None:
    np.testing.assert_allclose(mean_ranks(SCORES), [6.5 / 3, 5.5 / 3, 2.0], rtol=1e-12)
    assert best_setting(SCORES) == 1


def test_the_task_that_is_judged_does_not_choose_its_own_setting() -> None:
    np.testing.assert_allclose(mean_ranks(SCORES, without=1), [1.75, 2.25, 2.0], rtol=1e-12)
    assert best_setting(SCORES, without=1) == 0


def test_ranks_ignore_the_scale_of_a_task() -> None:
    stretched = SCORES * [1.0, 0.01, 1.0] + [0.0, 0.5, 0.0]
    assert np.array_equal(ranks(stretched), ranks(SCORES))


def test_a_missing_score_is_refused() -> None:
    with pytest.raises(ValueError, match="Finish all runs"):
        ranks(np.array([[0.5, np.nan], [0.4, 0.3]]))
