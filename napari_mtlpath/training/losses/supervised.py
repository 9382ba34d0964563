"""The loss of one task against its labels, with unknown labels left out."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from napari_mtlpath.tasks import Classification, Regression, Task


def task_loss(
    task: Task,
    logits: Float[Tensor, "sample output"],
    labels: Float[Tensor, " sample"],
    *,
    smoothing: float = 0.0,
    class_weights: Float[Tensor, " class"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean loss over samples: cross-entropy, or the squared error in units of the task's range.

    Parameters
    ----------
    task
        What the logits answer.
    logits
        One column for a binary or regression task, K for K classes.
    labels
        Class index or value; none may be unknown (NaN).
    smoothing
        Share of each label that is spread evenly over the classes.
    class_weights
        Weight of the samples of each class of a classification; a mean of 1 over the samples keeps the loss's size.
    """
    logits = logits.float()
    match task:
        case Regression():
            return ((logits[:, 0] - labels) / (task.high - task.low)).square().mean()
        case Classification() if task.is_binary:
            target = labels * (1.0 - smoothing) + 0.5 * smoothing
            weight = None if class_weights is None else class_weights[labels.long()]
            return functional.binary_cross_entropy_with_logits(logits[:, 0], target.to(logits.dtype), weight=weight)
        case Classification():
            losses = functional.cross_entropy(logits, labels.long(), label_smoothing=smoothing, reduction="none")
            return (losses if class_weights is None else losses * class_weights[labels.long()]).mean()


def balanced_weights(task: Classification, labels: Float[Tensor, " sample"]) -> Float[Tensor, " class"]:
    """Return weights with which each class of a task weighs as much as any other; their mean over the samples is 1.

    A class that no sample has gets 0.

    Examples
    --------
    >>> balanced_weights(Classification(name="tumour"), torch.tensor([0.0, 0.0, 0.0, 1.0]))
    tensor([0.6667, 2.0000])
    """
    known = labels[~labels.isnan()].long()
    counts = torch.bincount(known, minlength=len(task.classes)).float()
    present = int((counts > 0).sum())
    weights = len(known) / (max(present, 1) * counts)
    return torch.where(counts > 0, weights, torch.zeros_like(weights))


def labelled_tasks(tasks: Sequence[Task], labels: Float[Tensor, "sample task"]) -> list[tuple[int, Task]]:
    """Return the tasks that have at least one known label here, with their columns."""
    return [(column, task) for column, task in enumerate(tasks) if not bool(labels[:, column].isnan().all())]


def task_losses(
    tasks: Sequence[Task],
    logits: Mapping[str, Float[Tensor, "sample output"]],
    labels: Float[Tensor, "sample task"],
    *,
    smoothing: float = 0.0,
    class_weights: Mapping[str, Float[Tensor, " class"]] | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """Return the loss of each task that has labels here; a task without any is left out of the graph altogether."""
    weights = class_weights or {}
    losses = {}
    for column, task in labelled_tasks(tasks, labels):
        known = ~labels[:, column].isnan()
        losses[task.name] = task_loss(
            task,
            logits[task.name][known],
            labels[known, column],
            smoothing=smoothing,
            class_weights=weights.get(task.name),
        )
    return losses


def label_counts(tasks: Sequence[Task], labels: Float[Tensor, "sample task"]) -> dict[str, int]:
    """Return how many samples have a label, for the tasks that have any here.

    Examples
    --------
    >>> from napari_mtlpath.tasks import Classification
    >>> label_counts([Classification(name="a"), Classification(name="b")], torch.tensor([[0.0, torch.nan]]))
    {'a': 1}
    """
    return {task.name: int((~labels[:, column].isnan()).sum()) for column, task in labelled_tasks(tasks, labels)}
