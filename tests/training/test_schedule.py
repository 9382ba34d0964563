"""T10: the cosine schedule's end points."""

import pytest

from napari_mtlpath.training.schedule import cosine_factor


def test_cosine_starts_at_one_and_ends_at_zero():
    assert cosine_factor(0.0) == pytest.approx(1.0)
    assert cosine_factor(0.5) == pytest.approx(0.5)
    assert cosine_factor(1.0) == pytest.approx(0.0, abs=1e-12)


def test_cosine_only_falls_and_warmup_only_rises():
    falls = [cosine_factor(step / 50) for step in range(51)]
    assert falls == sorted(falls, reverse=True)
    rises = [cosine_factor(step / 50, warmup=0.2) for step in range(11)]
    assert rises == sorted(rises)
    assert rises[0] == 0.0
    assert rises[-1] == pytest.approx(1.0)


def test_progress_outside_the_training_is_refused():
    with pytest.raises(ValueError, match="0 to 1"):
        cosine_factor(1.01)
