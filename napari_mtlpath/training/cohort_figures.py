"""Final figures of a cohort's tasks for the model's card, each with its interval and the trivial answer's."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from napari_mtlpath.tasks import Regression, Task
from napari_mtlpath.training.bags import Answer, Bag, CardMetrics
from napari_mtlpath.training.evaluation import Metric, accuracy, auc, estimate, macro_f1, majority, mean_error


def cohort_figures(
    tasks: Sequence[Task], bags: Iterable[Bag], answer: Answer, *, learned: Float[Tensor, "sample task"]
) -> CardMetrics:
    """Return each task's figure on bags that nobody learned from; tasks without a label there have none.

    Parameters
    ----------
    tasks
        The questions, in the order of the labels.
    bags
        Read one after the other.
    answer
        The trained model.
    learned
        Labels of the training bags, which the trivial answer knows.
    """
    labels, logits = [], []
    for bag in bags:
        output = answer(bag.features, bag.coordinates)
        labels.append(bag.labels.double().numpy())
        logits.append({name: said.logits.double().cpu().numpy() for name, said in output.tasks.items()})
    truth = np.stack(labels)
    metrics: CardMetrics = {}
    for column, task in enumerate(tasks):
        known = ~np.isnan(truth[:, column])
        if known.any():
            said = np.stack([each[task.name] for each in logits])[known]
            metrics[task.name] = _figure(task, truth[known, column], said, learned[:, column].double().numpy())
    return metrics


def _figure(task: Task, truth: np.ndarray, logits: np.ndarray, learned: np.ndarray) -> dict[str, float | str]:
    if isinstance(task, Regression):
        floor = mean_error(truth, np.full_like(truth, np.nanmean(learned)))
        return estimate(mean_error, truth, logits[:, 0]).row("mean_absolute_error", floor=floor)
    if task.is_binary and len(np.unique(truth)) == 2:
        return estimate(auc, truth, logits[:, 0]).row("auc", floor=0.5)
    answers = (logits[:, 0] > 0).astype(np.float64) if task.is_binary else logits.argmax(1).astype(np.float64)
    metrics: dict[str, Metric] = {"accuracy": accuracy, "macro_f1": macro_f1}
    trivial = np.full_like(truth, majority(learned))
    rows: dict[str, float | str] = {}
    for name, metric in metrics.items():
        rows |= estimate(metric, truth, answers).row(name, floor=metric(truth, trivial))
    return rows
