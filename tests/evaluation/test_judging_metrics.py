"""Every figure equals scikit-learn's or scipy's, for plain samples and for resamples given as weights."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import pearsonr
from sklearn import metrics as reference

from napari_mtlpath.evaluation.metrics import Answers, MetricOptions, metrics_for
from napari_mtlpath.evaluation.operating_point import Rule, choose_operating_point
from napari_mtlpath.tasks import Classification, Regression

BINARY = Classification(name="tumour")
SEVERAL = Classification(name="grade", classes=("low", "middle", "high"))
AMOUNT = Regression(name="share")


def answers(task: Classification | Regression, *, seed: int, count: int = 60, threshold: float = 0.3) -> Answers:
    random = np.random.default_rng(seed)
    if isinstance(task, Regression):
        truth = random.random(count)
        logits = (truth + 0.3 * random.normal(size=count))[:, None]
    else:
        truth = random.integers(0, len(task.classes), count).astype(float)
        logits = random.normal(size=(count, task.outputs))
        logits[:, -1] += truth
        logits = np.round(logits, 1)  # ties
    return Answers(task=task, truth=truth, logits=logits, patients=tuple(map(str, range(count))), threshold=threshold)


def sklearn_values(judged: Answers, rows: np.ndarray) -> dict[str, float]:
    truth, logits = judged.truth[rows], judged.logits[rows]
    if isinstance(judged.task, Regression):
        said = logits[:, 0]
        return {
            "pearson": pearsonr(truth, said).statistic,
            "mean_absolute_error": reference.mean_absolute_error(truth, said),
            "r2": reference.r2_score(truth, said),
        }
    called = judged.chosen[rows]
    if logits.shape[1] == 1:
        score = logits[:, 0]
        alarms, found, _ = reference.roc_curve(truth, score, drop_intermediate=False)
        return {
            "auroc": reference.roc_auc_score(truth, score),
            "auprc": reference.average_precision_score(truth, score),
            "sensitivity_at_specificity": found[1 - alarms >= 0.8 - 1e-9].max(),
            "sensitivity": reference.recall_score(truth, called),
            "specificity": reference.recall_score(truth, called, pos_label=0),
            "balanced_accuracy": reference.balanced_accuracy_score(truth, called),
            "f1": reference.f1_score(truth, called),
        }
    shares = softmax(logits, axis=1)
    curves = [reference.roc_curve(truth == k, shares[:, k], drop_intermediate=False) for k in range(3)]
    return {
        "auroc": reference.roc_auc_score(truth, shares, multi_class="ovr"),
        "auprc": reference.average_precision_score(np.eye(3)[truth.astype(int)], shares, average="macro"),
        "sensitivity_at_specificity": np.mean([found[1 - alarms >= 0.8 - 1e-9].max() for alarms, found, _ in curves]),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, called),
        "f1": reference.f1_score(truth, called, average="macro"),
    }


@pytest.mark.parametrize("task", [BINARY, SEVERAL, AMOUNT], ids=lambda task: task.name)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_metric_equals_an_independent_one_on_samples_and_on_resamples(
    task: Classification | Regression, seed: int
) -> None:
    judged = answers(task, seed=seed)
    drawn = np.random.default_rng(seed).integers(0, 60, (3, 60))
    weights = np.stack([np.bincount(rows, minlength=60) for rows in drawn]).astype(float)
    expected = sklearn_values(judged, np.arange(60))
    resampled = [sklearn_values(judged, rows) for rows in drawn]

    found = metrics_for(task, MetricOptions(specificity=0.8)).metrics

    assert {metric.name for metric in found} == set(expected)
    for metric in found:
        assert metric.value(judged) == pytest.approx(expected[metric.name], abs=1e-12), metric.name
        np.testing.assert_allclose(
            metric.compute(judged, weights), [each[metric.name] for each in resampled], atol=1e-12, err_msg=metric.name
        )


def test_a_resample_without_a_class_gives_no_number() -> None:
    judged = Answers(
        task=BINARY,
        truth=np.array([0.0, 1.0, 1.0]),
        logits=np.array([[0.0], [1.0], [2.0]]),
        patients=("a", "b", "c"),
    )
    no_negative, no_positive = np.array([[0.0, 2.0, 1.0]]), np.array([[3.0, 0.0, 0.0]])
    found = metrics_for(BINARY).by_name

    for name in ("auroc", "auprc", "sensitivity_at_specificity", "balanced_accuracy", "specificity"):
        assert np.isnan(found[name].compute(judged, no_negative)).all(), name
    for name in ("auroc", "auprc", "sensitivity_at_specificity", "balanced_accuracy", "sensitivity", "f1"):
        assert np.isnan(found[name].compute(judged, no_positive)).all(), name


def test_scores_without_knowledge_reach_the_chance_value() -> None:
    random = np.random.default_rng(0)
    for task in (BINARY, SEVERAL):
        truth = random.integers(0, len(task.classes), 40_000).astype(float)
        blind = Answers(
            task=task, truth=truth, logits=random.normal(size=(40_000, task.outputs)), patients=("p",) * 40_000
        )
        for metric in metrics_for(task).metrics:
            if metric.chance is not None:
                assert metric.value(blind) == pytest.approx(metric.chance, abs=0.02), (task.name, metric.name)


def test_a_constant_answer_to_a_regression_has_no_correlation_and_no_r2() -> None:
    truth = np.array([0.1, 0.2, 0.6])
    flat = Answers(task=AMOUNT, truth=truth, logits=np.full((3, 1), truth.mean()), patients=("a", "b", "c"))
    found = metrics_for(AMOUNT).by_name

    assert np.isnan(found["pearson"].value(flat))
    assert found["r2"].value(flat) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_operating_point_is_the_best_of_all_thresholds(seed: int) -> None:
    judged = answers(BINARY, seed=seed)
    positive, score = judged.truth == 1, judged.logits[:, 0]
    every = [
        ((score[positive] >= limit).mean(), (score[~positive] < limit).mean())
        for limit in [*np.unique(score), score.max() + 1]
    ]

    youden = choose_operating_point(judged, rule=Rule.YOUDEN)
    specific = choose_operating_point(judged, rule=Rule.SPECIFICITY, specificity=0.75)

    assert youden is not None
    assert specific is not None
    assert youden.sensitivity + youden.specificity == pytest.approx(max(sum(pair) for pair in every))
    assert specific.sensitivity == pytest.approx(max(found for found, spared in every if spared >= 0.75))
    for point in (youden, specific):  # the threshold does what it says
        assert (score[positive] >= point.logit).mean() == pytest.approx(point.sensitivity)
        assert (score[~positive] < point.logit).mean() == pytest.approx(point.specificity)


def test_there_is_no_operating_point_without_both_classes() -> None:
    alone = Answers(task=BINARY, truth=np.ones(3), logits=np.zeros((3, 1)), patients=("a", "b", "c"))

    assert choose_operating_point(alone, rule=Rule.YOUDEN) is None
