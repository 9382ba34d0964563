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
    positive_weight: float = 1.0,
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
    positive_weight
        Weight of positive samples of a binary task.
    """
    logits = logits.float()
    match task:
        case Regression():
            return ((logits[:, 0] - labels) / (task.high - task.low)).square().mean()
        case Classification() if task.is_binary:
            target = labels * (1.0 - smoothing) + 0.5 * smoothing
            weight = torch.as_tensor(positive_weight, dtype=logits.dtype, device=logits.device)
            return functional.binary_cross_entropy_with_logits(logits[:, 0], target.to(logits.dtype), pos_weight=weight)
        case Classification():
            return functional.cross_entropy(logits, labels.long(), label_smoothing=smoothing)


def labelled_tasks(tasks: Sequence[Task], labels: Float[Tensor, "sample task"]) -> list[tuple[int, Task]]:
    """Return the tasks that have at least one known label here, with their columns."""
    return [(column, task) for column, task in enumerate(tasks) if not bool(labels[:, column].isnan().all())]


def task_losses(
    tasks: Sequence[Task],
    logits: Mapping[str, Float[Tensor, "sample output"]],
    labels: Float[Tensor, "sample task"],
    *,
    smoothing: float = 0.0,
) -> dict[str, Float[Tensor, ""]]:
    """Return the loss of each task that has labels here; a task without any is left out of the graph altogether."""
    losses = {}
    for column, task in labelled_tasks(tasks, labels):
        known = ~labels[:, column].isnan()
        losses[task.name] = task_loss(task, logits[task.name][known], labels[known, column], smoothing=smoothing)
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
