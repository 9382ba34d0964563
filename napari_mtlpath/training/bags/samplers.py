"""Which slides an epoch shows: all of them, or a draw in which each class of a task is as frequent as any other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from napari_mtlpath.tasks import AnyTask, Classification, Task, whole_tasks


@dataclass(frozen=True, kw_only=True, eq=False)
class Draw:
    """The samples of one epoch.

    Attributes
    ----------
    samples
        Rows of the training labels, in the order in which they are shown.
    counts_for
        For which tasks each of them counts, [sample, task].
    """

    samples: tuple[int, ...]
    counts_for: Bool[Tensor, "sample task"]


def draw_all(labels: Float[Tensor, "sample task"], generator: torch.Generator) -> Draw:
    """Return every sample that has a label, once, in random order."""
    labelled = torch.nonzero(~labels.isnan().all(dim=1)).flatten()
    order = labelled[torch.randperm(len(labelled), generator=generator)]
    return Draw(samples=tuple(order.tolist()), counts_for=~labels[order].isnan())


def draw_balanced(tasks: Sequence[AnyTask], labels: Float[Tensor, "sample task"], generator: torch.Generator) -> Draw:
    """Return a class-balanced draw: per classification task as many samples of each class as of its rarest.

    A sample drawn for several tasks is shown once and counts for those tasks only, so that each task by itself sees a
    balanced set, whatever the others' classes are. Regression tasks count wherever a drawn sample has a label; where
    there is no classification task, every labelled sample is drawn.

    Raises
    ------
    ValueError
        If a task has labels of one class only, or asks about pixels.

    Examples
    --------
    >>> labels = torch.tensor([[0.0], [0.0], [0.0], [1.0]])
    >>> draw = draw_balanced([Classification(name="tumour")], labels, torch.Generator().manual_seed(0))
    >>> sorted(labels[list(draw.samples), 0].tolist())
    [0.0, 1.0]
    """
    tasks = whole_tasks(tasks)
    counts_for = torch.zeros(labels.shape, dtype=torch.bool)
    for column, task in enumerate(tasks):
        if isinstance(task, Classification):
            counts_for[balanced_rows(task, labels[:, column], generator), column] = True
    if not any(isinstance(task, Classification) for task in tasks):
        return draw_all(labels, generator)
    drawn = torch.nonzero(counts_for.any(dim=1)).flatten()
    for column, task in enumerate(tasks):
        if not isinstance(task, Classification):
            counts_for[drawn, column] = ~labels[drawn, column].isnan()
    order = drawn[torch.randperm(len(drawn), generator=generator)]
    return Draw(samples=tuple(order.tolist()), counts_for=counts_for[order])


def balanced_rows(task: Classification, labels: Float[Tensor, " sample"], generator: torch.Generator) -> list[int]:
    """Return rows with as many samples of each class of one task as its rarest class has."""
    rows = [torch.nonzero(labels == code).flatten() for code in range(len(task.classes))]
    present = [each for each in rows if len(each)]
    if len(present) < 2:
        known = int((~labels.isnan()).sum())
        raise ValueError(
            f"Task {task.name!r} cannot be balanced: expected training slides of at least two of its classes "
            f"{', '.join(task.classes)}; found {known} labels of {len(present)} of them. "
            "Leave the task out, or set the sampling to 'all'."
        )
    rarest = min(len(each) for each in present)
    return [int(row) for each in present for row in each[torch.randperm(len(each), generator=generator)[:rarest]]]


def masked(labels: Float[Tensor, " task"], counts_for: Bool[Tensor, " task"]) -> Float[Tensor, " task"]:
    """Return labels with those unknown that do not count."""
    return torch.where(counts_for, labels, torch.full_like(labels, torch.nan))


def rows_of_epoch(
    tasks: Sequence[Task], labels: Float[Tensor, "sample task"], generator: torch.Generator, *, balanced: bool
) -> Iterator[tuple[int, Bool[Tensor, " task"]]]:
    """Yield samples and the tasks they count for, draw after draw without an end; an epoch takes what it needs."""
    while True:
        draw = draw_balanced(tasks, labels, generator) if balanced else draw_all(labels, generator)
        yield from zip(draw.samples, draw.counts_for, strict=True)


def epoch_length(tasks: Sequence[Task], labels: Float[Tensor, "sample task"], *, balanced: bool) -> int:
    """Return how many samples an epoch shows: those of one draw, which differs a little from draw to draw."""
    generator = torch.Generator().manual_seed(0)
    draw = draw_balanced(tasks, labels, generator) if balanced else draw_all(labels, generator)
    return len(draw.samples)
