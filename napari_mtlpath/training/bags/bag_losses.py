"""What the answers to a batch of bags cost, task by task: labels, tiles' labels, auxiliary terms, a teacher."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from napari_mtlpath.nn.outputs import BagOutput, Criterion, auxiliary_losses
from napari_mtlpath.tasks import Classification, Task
from napari_mtlpath.training.bags.bags import Bag, BagSource
from napari_mtlpath.training.bags.target_scaling import TargetScaling
from napari_mtlpath.training.config.train_config import BagsConfig
from napari_mtlpath.training.distillation import Teacher, distillation_losses
from napari_mtlpath.training.losses.supervised import balanced_weights, task_loss, task_losses


class BagLosses:
    """The losses of a config for the bags of a source.

    Parameters
    ----------
    config
        Says which losses, and their weights.
    source
        Where class weights and the scaling of regression targets come from.
    device
        Where the answers lie.
    teacher
        Whose answers the student learns from, or None.

    Raises
    ------
    ValueError
        If weights or scaling are asked for and the source has no fixed set of training bags.
    """

    def __init__(
        self, config: BagsConfig, source: BagSource, *, device: torch.device, teacher: Teacher | None = None
    ) -> None:
        self.config = config
        self.device = device
        self.teacher = teacher
        self.tasks = source.tasks
        self.scaling = TargetScaling()
        self.class_weights: dict[str, Tensor] = {}
        if config.losses.regression != "range":
            self.scaling = TargetScaling.of(source.tasks, source.fixed_labels(), kind=config.losses.regression)
        if config.losses.class_weights == "balanced":
            for column, task in enumerate(source.tasks):
                if isinstance(task, Classification):
                    self.class_weights[task.name] = balanced_weights(task, source.fixed_labels()[:, column]).to(device)
        self.learned = self.scaling.learned_tasks(source.tasks)
        self._criteria: Mapping[str, Criterion] = {task.name: self._criterion(task) for task in self.learned}

    def __call__(self, batch: Sequence[Bag], outputs: Sequence[BagOutput]) -> dict[str, Tensor]:
        """Return each task's mean loss over the bags that have its label; a task without any is absent."""
        labels = self.scaling.scaled(self.tasks, torch.stack([bag.labels for bag in batch]).to(self.device))
        logits = {task.name: torch.stack([output.tasks[task.name].logits for output in outputs]) for task in self.tasks}
        losses = task_losses(self.learned, logits, labels, class_weights=self.class_weights)
        for name, loss in auxiliary_losses(outputs, labels, self._criteria).items():
            losses[name] = losses[name] + loss
        if self.config.aggregator.tile_weight > 0:
            self._add_tiles(losses, batch, outputs)
        if self.teacher is not None and self.config.distillation is not None:
            table = self.config.distillation
            said = [self._scaled_answers(bag, self.teacher) for bag in batch]
            taught = distillation_losses(table, self.learned, student=logits, teacher=said, labels=labels)
            for name, loss in taught.items():
                losses[name] = losses[name] + table.weight * loss
        return losses

    def _add_tiles(self, losses: dict[str, Tensor], batch: Sequence[Bag], outputs: Sequence[BagOutput]) -> None:
        tiles = [self._tile_losses(*pair) for pair in zip(batch, outputs, strict=True)]
        for name, loss in losses.items():
            known = [each[name] for each in tiles if name in each]
            if known:
                losses[name] = loss + self.config.aggregator.tile_weight * torch.stack(known).mean()

    def _tile_losses(self, bag: Bag, output: BagOutput) -> dict[str, Tensor]:
        """Return the losses of the model's answers tile by tile, for a source that labels tiles."""
        logits = {name: task.tile_logits for name, task in output.tasks.items() if task.tile_logits is not None}
        if bag.tile_labels is None or len(logits) < len(self.tasks):
            raise ValueError(
                f"aggregator.tile_weight needs tile labels and an aggregator that answers tile by tile; "
                f"data source {self.config.data.source!r} with {self.config.aggregator.name!r} lacks one. Set it to 0."
            )
        labels = self.scaling.scaled(self.tasks, bag.tile_labels.to(self.device))
        return task_losses(self.learned, logits, labels, class_weights=self.class_weights)

    def _scaled_answers(self, bag: Bag, teacher: Teacher) -> dict[str, Tensor]:
        """Return the teacher's answers as the student's network learns values."""
        said = dict(teacher.answer(bag))
        for name, scale in self.scaling.scales.items():
            if name in said:
                said[name] = (said[name] - scale.offset) / scale.size
        return said

    def _criterion(self, task: Task) -> Criterion:
        def criterion(logits: Tensor, label: Tensor) -> Tensor:
            weights = self.class_weights.get(task.name)
            return task_loss(task, logits[None], label[None], class_weights=weights)

        return criterion
