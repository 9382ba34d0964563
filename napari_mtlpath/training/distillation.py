"""A teacher and what its student learns from it, task by task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.tasks import Classification, Regression, Task
from napari_mtlpath.training.bags.bags import Bag
from napari_mtlpath.training.config.systems import DistillationTable
from napari_mtlpath.weights import load_weights, read_weights
from napari_mtlpath.zoo.aggregators import AGGREGATORS
from napari_mtlpath.zoo.card import MODEL_WEIGHTS, ModelCard, read_model_card
from napari_mtlpath.zoo.load import find_model

TaskLogits = Mapping[str, Float[Tensor, " output"]]
"""By task: what a teacher says about one bag."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Teacher:
    """A finished model that answers training bags; each named bag is answered once.

    Attributes
    ----------
    card
        Of the teacher's model.
    module
        In evaluation mode; it takes features as they lie in the files.
    """

    card: ModelCard
    module: Aggregator
    _known: dict[str, TaskLogits] = field(default_factory=dict)

    @torch.no_grad()
    def answer(self, bag: Bag) -> TaskLogits:
        """Return what the teacher says about a bag, whole."""
        if bag.name and bag.name in self._known:
            return self._known[bag.name]
        place = next(self.module.parameters()).device
        coordinates = None if bag.coordinates is None else bag.coordinates.to(place)
        output = self.module(bag.features.to(place), coordinates)
        said = {name: answer.logits.clone() for name, answer in output.tasks.items()}
        if bag.name:
            self._known[bag.name] = said
        return said

    @property
    def facts(self) -> dict[str, str]:
        """What the student's card says about its teacher."""
        return {"teacher": self.card.name, "teacher_sha256": self.card.weights_sha256}


def load_teacher(name_or_path: str | Path, *, encoder: Encoder, tasks: Sequence[Task], device: torch.device) -> Teacher:
    """Load a finished model as a teacher.

    Raises
    ------
    ValueError
        If it was made with another encoder, has none of the student's tasks, or one that is asked otherwise.
    FileNotFoundError, napari_mtlpath.weights.WeightsError
        If there is no such model, or its weights are refused.
    """
    folder = find_model(name_or_path)
    card = read_model_card(folder)
    if card.encoder_sha256 != encoder.digest:
        raise ValueError(
            f"Teacher {card.name!r} was made with another tile encoder than {encoder.name!r}: expected "
            f"{encoder.digest[:12]}…, found {card.encoder_sha256[:12]}…. Choose a teacher of the same encoder."
        )
    _check_tasks(card, tasks)
    kind = AGGREGATORS.load(card.aggregator)
    module = kind.build(tasks=card.tasks, features=encoder.features, options=card.options)
    state = read_weights(folder / MODEL_WEIGHTS, sha256=card.weights_sha256)
    load_weights(module, state, what=f"The weights of teacher {card.name!r}")
    return Teacher(card=card, module=module.to(device).eval().requires_grad_(False))


def _check_tasks(card: ModelCard, tasks: Sequence[Task]) -> None:
    known = {task.name: task for task in card.tasks}
    shared = [task for task in tasks if task.name in known]
    if not shared:
        raise ValueError(
            f"Teacher {card.name!r} has none of the tasks {', '.join(task.name for task in tasks)}; "
            f"it has {', '.join(known)}. Choose another teacher."
        )
    for task in shared:
        other = known[task.name]
        if other.kind != task.kind or (isinstance(task, Classification) and other.classes != task.classes):  # type: ignore[union-attr]  # kinds are equal here
            raise ValueError(
                f"Teacher {card.name!r} is asked {task.name!r} otherwise: expected {_asked(task)}, found "
                f"{_asked(other)}. Choose another teacher."
            )


def _asked(task: Task) -> str:
    return f"the classes {', '.join(task.classes)}" if isinstance(task, Classification) else "a regression"


def distillation_losses(
    table: DistillationTable,
    tasks: Sequence[Task],
    *,
    student: Mapping[str, Float[Tensor, "sample output"]],
    teacher: Sequence[TaskLogits],
    labels: Float[Tensor, "sample task"],
) -> dict[str, Float[Tensor, ""]]:
    """Return by task what the student's answers differ from the teacher's, over the samples that have the task's label.

    Parameters
    ----------
    table
        Which loss.
    tasks
        As the student's loss sees them: a regression's error is counted in its range.
    student
        Logits by task.
    teacher
        What the teacher says about each sample, in the same units.
    labels
        Only which are known matters.

    Returns
    -------
    Tasks that the teacher lacks, or that nobody distils, are absent. Unweighted.
    """
    losses = {}
    for column, task in enumerate(tasks):
        known = torch.nonzero(~labels[:, column].isnan()).flatten().tolist()
        if not known or task.name not in teacher[0] or (isinstance(task, Regression) and table.regression == "none"):
            continue
        said = torch.stack([teacher[row][task.name] for row in known]).to(student[task.name].device)
        losses[task.name] = _task_distillation(table, task, student[task.name][known], said)
    return losses


def _task_distillation(
    table: DistillationTable,
    task: Task,
    student: Float[Tensor, "sample output"],
    teacher: Float[Tensor, "sample output"],
) -> Float[Tensor, ""]:
    match task:
        case Regression():
            return ((student[:, 0] - teacher[:, 0]) / (task.high - task.low)).square().mean()
        case Classification() if task.is_binary:
            return table.binary_loss()(student[:, 0], teacher[:, 0])
        case Classification():
            soft = [torch.log_softmax(logits.float() / table.temperature, dim=1) for logits in (student, teacher)]
            divergence = functional.kl_div(soft[0], soft[1], reduction="batchmean", log_target=True)
            return table.temperature**2 * divergence
