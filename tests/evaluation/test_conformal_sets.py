"""Prediction sets hold the true class as often as promised, class by class, and abstain rather than guess."""

import math

import numpy as np
import pytest
from scipy.special import expit

from napari_mtlpath.evaluation.class_sets import read_class_sets
from napari_mtlpath.evaluation.conformal import class_sets, set_figures
from napari_mtlpath.evaluation.intervals import Resampler
from napari_mtlpath.evaluation.metrics import Answers
from napari_mtlpath.tasks import Classification

BINARY = Classification(name="tumour")
SEVERAL = Classification(name="grade", classes=("low", "middle", "high"))


def drawn(random: np.random.Generator, count: int, *, task: Classification = BINARY, rare: float = 0.15) -> Answers:
    classes = len(task.classes)
    shares = np.array([1 - rare * (classes - 1), *[rare] * (classes - 1)])
    truth = random.choice(classes, p=shares, size=count).astype(float)
    logits = random.normal(size=(count, task.outputs))
    if task.is_binary:
        logits[:, 0] += 1.5 * truth
    else:
        logits[np.arange(count), truth.astype(int)] += 1.5
    return Answers(task=task, truth=truth, logits=logits, patients=tuple(map(str, range(count))))


@pytest.mark.parametrize("task", [BINARY, SEVERAL], ids=lambda task: task.name)
def test_each_class_is_covered_as_promised_even_a_rare_one(task: Classification) -> None:
    random = np.random.default_rng(0)
    coverage = []
    for _ in range(60):
        sets = class_sets(drawn(random, 300, task=task), None, coverage=0.8)
        found = set_figures(fresh := drawn(random, 400, task=task), None, sets, Resampler(fresh.patients, draws=2))
        coverage.append([found.coverage[name].value for name in task.classes])

    # At least 0.8, and at most 1 / (n + 1) more: about 30 of a rare class.
    assert (np.mean(coverage, axis=0) > 0.785).all()
    assert (np.mean(coverage, axis=0) < 0.85).all()


def test_a_threshold_is_the_smallest_that_the_rule_allows() -> None:
    logits = np.concatenate([np.zeros(5), np.arange(1.0, 20.0)])[:, None]
    answers = Answers(
        task=BINARY,
        truth=np.r_[np.zeros(5), np.ones(19)],
        logits=logits,
        patients=tuple(map(str, range(24))),
    )

    found = class_sets(answers, None, coverage=0.9)

    # ceil(20 * 0.9) = 18th smallest strangeness of 19 positives: that of logit 2. 6 * 0.9 > 5: all negatives are in.
    assert found.thresholds[1] == pytest.approx(1 - expit(2.0))
    assert math.isinf(found.thresholds[0])
    assert found.patients == (5, 19)


def test_a_class_of_too_few_patients_is_in_every_set() -> None:
    random = np.random.default_rng(1)
    sets = class_sets(drawn(random, 40, rare=0.05), None, coverage=0.99)

    assert sets.sets(np.array([[0.999, 0.001]])).all()


def test_a_patients_worst_slide_decides() -> None:
    single = Answers(
        task=BINARY,
        truth=np.ones(19),
        logits=np.arange(1.0, 20.0)[:, None],
        patients=tuple(map(str, range(19))),
    )
    doubled = Answers(
        task=BINARY,
        truth=np.ones(38),
        logits=np.r_[single.logits, single.logits + 5],
        patients=single.patients * 2,
    )

    assert class_sets(doubled, None).thresholds == class_sets(single, None).thresholds


def test_sets_come_back_from_a_card() -> None:
    sets = class_sets(drawn(np.random.default_rng(2), 200), {"slope": 2.0, "intercept": 0.5})

    assert read_class_sets(sets.as_table(), classes=2) == sets
    with pytest.raises(ValueError, match="thresholds"):
        read_class_sets({"coverage": 0.9, "thresholds": [0.5]}, classes=2)


def test_the_answered_are_more_often_right_than_all() -> None:
    random = np.random.default_rng(3)
    sets = class_sets(drawn(random, 500, rare=0.5), None, coverage=0.9)
    fresh = drawn(random, 2000, rare=0.5)

    found = set_figures(fresh, None, sets, Resampler(fresh.patients, draws=100))

    everyone = np.mean((fresh.logits[:, 0] > 0.75) == (fresh.truth == 1))
    assert 0.3 < found.answered.value < 0.95
    assert found.accuracy.low > everyone
    assert found.empty.value == 0.0
