"""A copy of a model with one more task, and the proof beforehand that teaching that task can leave the others alone."""

import copy
from collections.abc import Collection

import torch
from torch import Tensor

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.nn.aggregators.mecds import MECDS
from napari_mtlpath.nn.outputs import BagOutput
from napari_mtlpath.tasks import Task
from napari_mtlpath.training.teaching.guard import COMPARED
from napari_mtlpath.weights import load_weights

PROBE_TILES = (1, 2, 37)
"""Sizes of the made-up bags on which isolation is tried before anything is taught."""

SHAKE = 0.1
"""How far the task's parameters are moved in that trial."""


def with_task(aggregator: Aggregator, task: Task, *, mode: str, generator: torch.Generator) -> Aggregator:
    """Return a copy of `aggregator` that has `task` too, the new parameters drawn from `generator`.

    MECDS extends itself. Any other aggregator is built again with one task more and given the old weights, which
    works because what belongs to a task lies in modules of its own.

    Parameters
    ----------
    aggregator
        Left as it is.
    task
        The new task, last in the copy's order.
    mode
        ``"isolated"`` or ``"shared"``.
    generator
        Makes the new weights reproducible.

    Raises
    ------
    ValueError
        If there is a task of that name, or the aggregator cannot take one more.
    """
    if task.name in [known.name for known in aggregator.tasks]:
        raise ValueError(
            f"This model already has a task {task.name!r}. Give the new task another name, or teach that one further."
        )
    if isinstance(aggregator, MECDS):
        return aggregator.extended(task, extension=mode, generator=generator)
    tasks = (*aggregator.tasks, task)
    longer = type(aggregator).build(
        tasks=tasks, features=aggregator.features, options=aggregator.options, generator=generator
    )
    longer.to(next(aggregator.parameters()))
    old = aggregator.state_dict()
    own = {id(parameter) for parameter in longer.task_parameters(task.name)}
    new = {name for name, value in longer.state_dict(keep_vars=True).items() if id(value) in own}
    if {*longer.state_dict()} - new != {*old}:
        raise ValueError(
            f"The aggregator {type(aggregator).__name__} cannot take one more task: its weights are not laid out task "
            "by task. Train a new model with all tasks."
        )
    longer.load_state_dict(old, strict=False)
    return longer.eval()


def without_task(aggregator: Aggregator, task: str) -> Aggregator:
    """Return a copy of `aggregator` without one of its tasks; the others keep their weights.

    Raises
    ------
    ValueError
        If there is no such task, it is the only one, or the others cannot do without it.
    """
    gone = {id(parameter) for parameter in aggregator.task_parameters(task)}
    remaining = tuple(known for known in aggregator.tasks if known.name != task)
    if not remaining:
        raise ValueError(f"The model has only the task {task!r}, and a model needs at least one. Nothing was removed.")
    options = dict(aggregator.options)
    if isinstance(options.get("extensions"), dict):
        options["extensions"] = {name: kind for name, kind in options["extensions"].items() if name != task}
    shorter = type(aggregator).build(tasks=remaining, features=aggregator.features, options=options)
    shorter.to(next(aggregator.parameters()))
    old_names = {id(value): name for name, value in aggregator.state_dict(keep_vars=True).items()}
    new_names = {id(value): name for name, value in shorter.state_dict(keep_vars=True).items()}
    renamed = {
        old_names[id(old)]: new_names[id(new)]
        for known in remaining
        for old, new in zip(aggregator.task_parameters(known.name), shorter.task_parameters(known.name), strict=True)
    }
    state = {
        renamed.get(name, name): value
        for name, value in aggregator.state_dict(keep_vars=True).items()
        if id(value) not in gone
    }
    load_weights(shorter, state, what=f"The weights without task {task!r}")
    return shorter.eval()


@torch.no_grad()
def check_isolation(before: Aggregator, after: Aggregator, tasks: Collection[str]) -> None:
    """Try whether anything that `tasks` may learn in `after` reaches another task's answer of `before`, bit by bit.

    Their own parameters are moved at random in a copy, and made-up bags are answered with and without.

    Raises
    ------
    ValueError
        If another task's answer differs in one bit.
    """
    shaken = copy.deepcopy(after).eval()
    generator = torch.Generator().manual_seed(0)
    for task in tasks:
        for parameter in shaken.task_parameters(task):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_((SHAKE * noise).to(parameter))
    others = [known.name for known in before.tasks if known.name not in tasks]
    before = copy.deepcopy(before).eval()
    for tiles in PROBE_TILES:
        bag = torch.randn(tiles, before.features, generator=generator).to(next(before.parameters()))
        if not _same(before(bag, explain=True), shaken(bag, explain=True), others):
            raise ValueError(
                f"{_subject(tasks)} cannot be taught in isolation here: in this model ({type(before).__name__}"
                f"{_hint(before)}) what is learned reaches the other tasks' answers. Choose mode 'shared', which shows "
                "how far they move, or a model whose tasks are isolated."
            )


def _subject(tasks: Collection[str]) -> str:
    return f"Task{'s' if len(tasks) > 1 else ''} {', '.join(map(repr, tasks))}"


def _same(before: BagOutput, after: BagOutput, tasks: list[str]) -> bool:
    pairs = [
        (getattr(before.tasks[task], kind), getattr(after.tasks[task], kind)) for task in tasks for kind in COMPARED
    ]
    return all(_equal(one, other) for one, other in pairs)


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.equal(one, other)


def _hint(aggregator: Aggregator) -> str:
    if not aggregator.isolating:
        return ""
    wanted = ", ".join(f"{key} = {value!r}" for key, value in aggregator.isolating.items())
    return f"; only with {wanted} its tasks are apart from the start"
