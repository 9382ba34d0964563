"""Regression targets scaled by the training part, and heads that answer in the unit of the task all the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.nn.outputs import BagOutput, TaskOutput
from napari_mtlpath.tasks import Regression, Task


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A value x of a task is learned as ``(x - offset) / size``."""

    offset: float
    size: float


@dataclass(frozen=True, kw_only=True)
class TargetScaling:
    """How regression targets are scaled while a network learns; tasks that are not listed are left as they are.

    Examples
    --------
    >>> score = Regression(name="score", high=40.0)
    >>> scaling = TargetScaling.of([score], torch.tensor([[10.0], [30.0]]), kind="min_max")
    >>> scaling.scaled([score], torch.tensor([[20.0]])).tolist()
    [[0.5]]
    """

    scales: Mapping[str, Scale] = field(default_factory=dict)

    @classmethod
    def of(cls, tasks: Sequence[Task], labels: Float[Tensor, "sample task"], *, kind: str) -> "TargetScaling":
        """Return the scaling by range (``min_max``) or standard deviation (``standard``) of the known labels."""
        scales = {}
        for column, task in enumerate(tasks):
            known = labels[~labels[:, column].isnan(), column].double()
            if not isinstance(task, Regression) or len(known) == 0:
                continue
            low, high = float(known.min()), float(known.max())
            offset, size = (low, high - low) if kind == "min_max" else (float(known.mean()), float(known.std()))
            scales[task.name] = Scale(offset=offset, size=size if high > low else 1.0)
        return cls(scales=scales)

    def learned_tasks(self, tasks: Sequence[Task]) -> tuple[Task, ...]:
        """Return the tasks as the loss sees them: the range of a scaled one is 1."""
        return tuple(
            replace(task, low=0.0, high=1.0) if isinstance(task, Regression) and task.name in self.scales else task
            for task in tasks
        )

    def scaled(self, tasks: Sequence[Task], labels: Float[Tensor, "sample task"]) -> Float[Tensor, "sample task"]:
        """Return labels as the network learns them."""
        labels = labels.clone()
        for column, task in enumerate(tasks):
            if task.name in self.scales:
                scale = self.scales[task.name]
                labels[:, column] = (labels[:, column] - scale.offset) / scale.size
        return labels

    def in_units(self, output: BagOutput) -> BagOutput:
        """Return a network's answers in the units of the tasks."""
        if not self.scales:
            return output
        tasks = {name: self._in_unit(name, answer) for name, answer in output.tasks.items()}
        return BagOutput(tasks=tasks)

    def _in_unit(self, name: str, answer: TaskOutput) -> TaskOutput:
        if name not in self.scales:
            return answer
        scale = self.scales[name]
        tiles = answer.tile_logits
        return replace(
            answer,
            logits=answer.logits * scale.size + scale.offset,
            tile_logits=None if tiles is None else tiles * scale.size + scale.offset,
        )

    @torch.no_grad()
    def fold_into(self, module: Aggregator) -> None:
        """Change the heads of `module` so that it answers in the units of the tasks by itself.

        ``size (W x + b) + offset = (size W) x + (size b + offset)``; the result is compared with the answer before.

        Raises
        ------
        TypeError
            If an aggregator's heads are not linear layers called ``head`` or ``heads``, or something comes after them.
        """
        if not self.scales:
            return
        parameter = next(module.parameters())
        bag = torch.randn(7, module.features, generator=torch.Generator().manual_seed(0)).to(parameter)
        module.eval()
        expected = self.in_units(module(bag))
        for name, scale in self.scales.items():
            for layer in _last_layers(module, name):
                _set_weight(layer, layer.weight * scale.size)
                layer.bias.mul_(scale.size).add_(scale.offset)
        found = module(bag)
        for name, scale in self.scales.items():
            error = (found.tasks[name].logits - expected.tasks[name].logits).abs().max()
            if float(error) > 1e-3 * (scale.size + abs(scale.offset)):
                raise TypeError(
                    f"The scaling of task {name!r} cannot be folded into {type(module).__name__}: its heads are not "
                    "the last thing that it computes. Set losses.regression to 'range'."
                )


def _set_weight(layer: nn.Linear, weight: Tensor) -> None:
    if is_parametrized(layer, "weight"):  # such as a normalised one: what it is computed from is set
        layer.weight = weight  # type: ignore[assignment]
    else:
        layer.weight.copy_(weight)


def _last_layers(module: Aggregator, task: str) -> list[nn.Linear]:
    own = {id(parameter) for parameter in module.task_parameters(task)}
    found = [
        layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear)
        and layer.out_features == 1
        and id(layer.bias) in own
        and any(part in {"head", "heads"} for part in name.split("."))
    ]
    if not found:
        raise TypeError(
            f"Expected {type(module).__name__} to have a linear 'head' for task {task!r}; found none. "
            "Set losses.regression to 'range'."
        )
    return found
