"""A hash of some of a model's parameters and buffers: proof that teaching a new task left the old ones alone."""

import hashlib
from collections.abc import Collection

import torch

from napari_mtlpath.nn.aggregator import Aggregator


def state_hash(model: Aggregator, tasks: Collection[str]) -> str:
    """Return the SHA-256 of everything shared and of the private parts of `tasks`: names, types, shapes and bits.

    Computed before and after a task is added and trained, over the old tasks, it must not change.

    Parameters
    ----------
    model
        Any aggregator.
    tasks
        Names of its tasks whose private parameters count; all others' are left out.

    Examples
    --------
    >>> from napari_mtlpath.nn.aggregators.mean_pool import MeanPool
    >>> from napari_mtlpath.tasks import Regression
    >>> model = MeanPool.build(tasks=[Regression(name="share")], features=2, options={})
    >>> len(state_hash(model, ["share"]))
    64
    """
    known = [task.name for task in model.tasks]
    left_out = {id(p) for task in known if task not in set(tasks) for p in model.task_parameters(task)}
    for task in tasks:
        model.task_parameters(task)  # Raises for a task that the model does not have.
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict(keep_vars=True).items()):
        if id(tensor) in left_out:
            continue
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
