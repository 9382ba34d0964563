"""The MUSK1 benchmark: its file, its floor and its paired test."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from benchmarks.musk1 import FILE, compare_folds, read_musk1, svm_accuracy


def test_the_corrected_test_widens_the_plain_one_by_the_overlap_of_the_folds() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.normal(0.9, 0.1, 50), generator.normal(0.85, 0.1, 50)
    found = compare_folds(first, second, test_share=0.1)
    error = math.sqrt((1 / 50 + 1 / 9) * np.var(first - second, ddof=1))
    assert found.difference == pytest.approx(np.mean(first - second))
    assert found.high - found.difference == pytest.approx(error * 2.0095752, rel=1e-6)  # t of 49 degrees at .975
    assert found.p == pytest.approx(2 * student.sf(found.difference / error, 49))
    assert compare_folds(second, first, test_share=0.1).p == pytest.approx(found.p)


def test_the_same_accuracies_do_not_differ() -> None:
    same = compare_folds(np.full(50, 0.9), np.full(50, 0.9), test_share=0.1)
    assert (same.difference, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


def test_another_file_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "musk1.npz"
    np.savez(other, X=np.zeros((3, 166)))
    with pytest.raises(ValueError, match="with SHA-256"):
        read_musk1(other)


def test_the_floor_is_the_known_one_and_no_bag_is_on_both_sides(real_data: Path) -> None:
    data = read_musk1(real_data / FILE)
    assert (len(data.features), len(data.labels), int(data.labels.sum())) == (476, 92, 47)
    # Over each repeat's ten folds every bag is judged exactly once.
    assert ((~data.train).sum(axis=1) == 1).all()
    accuracies = [svm_accuracy(data, repeat, fold) for repeat in range(5) for fold in range(10)]
    assert np.mean(accuracies) == pytest.approx(0.893, abs=0.001)
