"""Auto-Lambda: weights that make the next step help the validation loss of the main tasks."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from napari_mtlpath.balancing.adam import Adam
from napari_mtlpath.balancing.contract import LearnsFromValidation


class AutoLambda(LearnsFromValidation):
    r"""Meta-learned weights (Liu et al., 2022, arXiv:2202.03091, eq. 3 to 5).

    The weights :math:`\lambda_i \ge 0` descend the main tasks' validation loss after a virtual step of the module,
    :math:`L^{val}(\theta - \alpha (\nabla_\theta \sum_i \lambda_i L_i + \delta \theta))`. The derivative is computed by
    ``napari_mtlpath.training.step.virtual_step`` and given to :meth:`learn`; here Adam without weight decay takes the
    step, and the weights are kept from becoming negative.

    Parameters
    ----------
    main
        Names of the tasks whose validation loss counts, joined by commas; all tasks if empty.
    start
        First value of every weight.
    learning_rate
        Of the weights.

    Examples
    --------
    >>> method = AutoLambda(["a", "b"], main="a")
    >>> method.learn({"a": -1.0, "b": 1.0})
    >>> weighted = method({"a": torch.tensor(1.0), "b": torch.tensor(1.0)})
    >>> bool(weighted["a"] > weighted["b"])
    True
    """

    lambdas: Tensor

    def __init__(self, tasks: Sequence[str], main: str = "", start: float = 0.1, learning_rate: float = 1e-4) -> None:
        super().__init__(tasks)
        if not start > 0.0 or not learning_rate > 0.0:
            raise ValueError(
                f"Options 'start' and 'learning_rate' of autol must be above 0; found {start!r} and {learning_rate!r}."
            )
        self.main = tuple(name.strip() for name in main.split(",")) if main else self.tasks
        if strangers := [name for name in self.main if name not in self.tasks]:
            raise ValueError(
                f"Option 'main' of autol must name tasks of the model, joined by commas; found {', '.join(strangers)}. "
                f"Tasks: {', '.join(self.tasks)}."
            )
        self.register_buffer("lambdas", torch.full((len(self.tasks),), float(start)))
        self.adam = Adam(len(self.tasks), learning_rate=learning_rate)

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Multiply each loss by its weight, which takes no gradient."""
        used = {task: self.lambdas[self.index_of(task)].item() for task in losses}
        self.remember(used)
        return {task: used[task] * loss for task, loss in losses.items()}

    def current(self) -> dict[str, float]:
        """Return the weight of every task as it is now."""
        return dict(zip(self.tasks, self.lambdas.tolist(), strict=True))

    def learn(self, slopes: Mapping[str, float]) -> None:
        """Take one step against the derivatives of the main tasks' validation loss by each weight.

        A task that is left out keeps its weight.
        """
        gradient = torch.full_like(self.lambdas, torch.nan)
        for task, slope in slopes.items():
            gradient[self.index_of(task)] = slope
        self.adam.step(self.lambdas, gradient)
        self.lambdas.clamp_(min=0.0)
