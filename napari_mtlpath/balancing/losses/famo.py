"""FAMO: all tasks are to improve at the same rate, learned from the losses alone."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from napari_mtlpath.balancing.adam import Adam
from napari_mtlpath.balancing.contract import LossBalancer

SMALLEST_LOSS = 1e-8  # Losses are divided by and their logarithms taken.


class FAMO(LossBalancer):
    r"""Fast adaptive multitask optimization (Liu et al., 2023, arXiv:2306.03792, algorithm 1).

    With :math:`z = softmax(\xi)` the weights are :math:`w_i \propto z_i / L_i`, here with sum K over the tasks present.
    After the step, the losses of the same batch are read again, and :math:`\xi` descends
    :math:`\sum_i z_i(\xi) (\log L_i - \log L_i')` with a decay :math:`\gamma \xi`, by Adam: tasks that improved least
    gain weight. It needs no gradient per task, but one more forward pass per step. Losses must not be negative.

    Parameters
    ----------
    learning_rate
        Of the logits.
    decay
        The strength gamma with which the logits are drawn back to zero.

    Examples
    --------
    >>> method = FAMO(["a", "b"])
    >>> weighted = method({"a": torch.tensor(1.0), "b": torch.tensor(3.0)})
    >>> {task: round(weight, 2) for task, weight in method.weights.items()}
    {'a': 1.5, 'b': 0.5}
    """

    needs_losses_after_step = True
    logits: Tensor

    def __init__(self, tasks: Sequence[str], learning_rate: float = 0.025, decay: float = 0.001) -> None:
        super().__init__(tasks)
        if not learning_rate > 0.0 or not decay >= 0.0:
            raise ValueError(
                f"Option 'learning_rate' of famo must be above 0 and 'decay' at least 0; found {learning_rate!r} and "
                f"{decay!r}."
            )
        self.decay = decay
        self.register_buffer("logits", torch.zeros(len(self.tasks)))
        self.adam = Adam(len(self.tasks), learning_rate=learning_rate)

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Multiply each loss by its weight, which takes no gradient."""
        places = [self.index_of(task) for task in losses]
        values = torch.stack([loss.detach().cpu().double() for loss in losses.values()]).clamp(min=SMALLEST_LOSS)
        shares = torch.softmax(self.logits[places].cpu().double(), dim=0) / values
        weights = (len(places) * shares / shares.sum()).tolist()
        used = dict(zip(losses, weights, strict=True))
        self.remember(used)
        return {task: used[task] * loss for task, loss in losses.items()}

    def step_ended(self, before: Mapping[str, float], after: Mapping[str, float] | None) -> None:
        """Move the logits by how much each task improved; tasks in only one of the two are left out."""
        if after is None:
            raise ValueError(
                "FAMO compares a batch's losses before and after the step; found none after it. Compute them again "
                "once the optimizer has stepped."
            )
        both = [task for task in before if task in after]
        places = [self.index_of(task) for task in both]
        gains = torch.log(_positive(before, both)) - torch.log(_positive(after, both))
        shares = torch.softmax(self.logits[places].cpu().double(), dim=0)
        slope = torch.full_like(self.logits, torch.nan)
        slope[places] = (shares * (gains - shares @ gains)).to(slope) + self.decay * self.logits[places]
        self.adam.step(self.logits, slope)


def _positive(losses: Mapping[str, float], tasks: Sequence[str]) -> Tensor:
    return torch.tensor([losses[task] for task in tasks], dtype=torch.float64).clamp(min=SMALLEST_LOSS)
