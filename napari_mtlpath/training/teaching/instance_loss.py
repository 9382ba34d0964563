"""What single labelled tiles teach: the task's answer tile by tile, and where its router looks."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from napari_mtlpath.nn.outputs import TaskOutput
from napari_mtlpath.tasks import Classification, Task
from napari_mtlpath.training.losses.supervised import balanced_weights, task_loss

SMALLEST_PHI = 1e-30
"""Routing weights below are taken for this: the softmax of a far tile is 0 in float32, and its logarithm is not."""


def instance_loss(
    task: Task, outputs: Sequence[TaskOutput], labels: Sequence[Float[Tensor, " _"]]
) -> Float[Tensor, ""] | None:
    r"""Return the loss of a step's labelled tiles, or None where none is or the model says nothing about tiles.

    It has two terms. The first is the task's loss of the `tile_logits` of all bags against the labels, every class
    weighing the same. The second is for a router with weights :math:`\phi`, the mean over the bags that hold both
    labelled tiles of a class that is looked for (P) and labelled tiles of the first class (N): the router's logits
    :math:`r`, of which :math:`\phi` is the softmax, are to put the weight on P,

    .. math::

        -\log \frac{\sum_{n \in P} e^{r_n}}{\sum_{n \in P \cup N} e^{r_n}}
        = -\log \frac{\sum_{n \in P} \phi_n}{\sum_{n \in P \cup N} \phi_n}.

    Unlabelled tiles take no part in it, so that the router may find more of the class among them.

    Parameters
    ----------
    task
        What is taught.
    outputs
        The model's answer for each bag, with its explanations.
    labels
        Class index or value of each bag's tiles; NaN where unknown.
    """
    terms = [
        term for term in (_tile_loss(task, outputs, labels), _router_loss(task, outputs, labels)) if term is not None
    ]
    return torch.stack(terms).sum() if terms else None


def _tile_loss(task: Task, outputs: Sequence[TaskOutput], labels: Sequence[Tensor]) -> Tensor | None:
    pairs = [
        (output.tile_logits, each)
        for output, each in zip(outputs, labels, strict=True)
        if output.tile_logits is not None
    ]
    if not pairs:
        return None
    logits, known = torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])
    is_known = ~known.isnan()
    if not bool(is_known.any()):
        return None
    weights = balanced_weights(task, known).to(known.device) if isinstance(task, Classification) else None
    return task_loss(task, logits[is_known], known[is_known], class_weights=weights)


def _router_loss(task: Task, outputs: Sequence[TaskOutput], labels: Sequence[Tensor]) -> Tensor | None:
    if not isinstance(task, Classification):
        return None
    losses = [
        _routing_loss(output.routing, each > 0, each == 0)
        for output, each in zip(outputs, labels, strict=True)
        if output.routing is not None and bool((each > 0).any()) and bool((each == 0).any())
    ]
    return torch.stack(losses).mean() if losses else None


def _routing_loss(
    routing: Float[Tensor, " tile"], sought: Bool[Tensor, " tile"], passed: Bool[Tensor, " tile"]
) -> Float[Tensor, ""]:
    logits = routing.float().clamp_min(SMALLEST_PHI).log()
    return torch.logsumexp(logits[sought | passed], dim=0) - torch.logsumexp(logits[sought], dim=0)
