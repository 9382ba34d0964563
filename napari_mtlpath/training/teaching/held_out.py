"""How a task does on labels that were held out: loss, score and the trivial floor."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from napari_mtlpath.evaluation.ranking import auroc, ranks
from napari_mtlpath.tasks import Classification, Regression, Task
from napari_mtlpath.training.evaluation import Estimate, estimate, macro_f1, majority, r2
from napari_mtlpath.training.losses.supervised import balanced_weights, task_loss


def auc(truth: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """Area under the ROC curve, as scikit-learn's, at a hundredth of its time: the interval takes 500 of them."""
    return float(auroc(ranks(truth == 1, scores, np.ones((1, len(truth)))))[0])


METRICS = {"AUC": auc, "macro-F1": macro_f1, "R2": r2}


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A task on held-out labels of one kind.

    Attributes
    ----------
    loss
        The task's loss, every class weighing the same; NaN without labels.
    score, floor
        Its figure and that of the trivial answer; NaN where all labels are the same.
    metric
        Which figure: AUC, macro-F1 or R2.
    count
        Number of labels.
    """

    loss: float
    score: float
    floor: float
    metric: str
    count: int


def metric_of(task: Task) -> str:
    """Return the name of the figure that a task is judged by."""
    if isinstance(task, Regression):
        return "R2"
    return "AUC" if task.is_binary else "macro-F1"


def judged(task: Task, logits: Float[Tensor, "sample output"], labels: Float[Tensor, " sample"]) -> Judgement:
    """Judge answers by labels, all known.

    Examples
    --------
    >>> import torch
    >>> judged(Classification(name="a"), torch.tensor([[-1.0], [1.0]]), torch.tensor([0.0, 1.0])).score
    1.0
    """
    name, count = metric_of(task), len(labels)
    if count == 0:
        return Judgement(loss=math.nan, score=math.nan, floor=math.nan, metric=name, count=0)
    weights = balanced_weights(task, labels) if isinstance(task, Classification) else None
    loss = float(task_loss(task, logits, labels, class_weights=weights))
    truth, answers = labels.double().numpy(), answers_of(task, logits)
    if len(np.unique(truth)) < 2:
        return Judgement(loss=loss, score=math.nan, floor=math.nan, metric=name, count=count)
    score = METRICS[name](truth, answers)
    return Judgement(loss=loss, score=score, floor=floor_of(task, truth), metric=name, count=count)


def with_interval(task: Task, logits: Float[Tensor, "sample output"], labels: Float[Tensor, " sample"]) -> Estimate:
    """Return the task's figure with the 95 % interval of its bootstrap over labels; two different ones are needed."""
    return estimate(METRICS[metric_of(task)], labels.double().numpy(), answers_of(task, logits))


def answers_of(task: Task, logits: Float[Tensor, "sample output"]) -> NDArray[np.float64]:
    """Return what the task's figure reads: a score (binary), a class index, or a value."""
    exact = logits.double()
    several = isinstance(task, Classification) and not task.is_binary
    return (exact.argmax(1).double() if several else exact[:, 0]).numpy()


def floor_of(task: Task, truth: NDArray[np.float64]) -> float:
    """Return the trivial answer's figure: chance, the most frequent class, or the mean."""
    match metric_of(task):
        case "AUC":
            return 0.5
        case "macro-F1":
            return macro_f1(truth, np.full_like(truth, majority(truth)))
        case _:
            return 0.0
