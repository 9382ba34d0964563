"""Whether embeddings have collapsed to one point: how far they spread, and a monitor that stops a training."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class EmbeddingsCollapsed(FloatingPointError):
    """All tiles get nearly the same embedding; the training loop stops and keeps the best epoch before."""


def spread(embeddings: Float[Tensor, "tile feature"]) -> Float[Tensor, ""]:
    r"""Return how far directions spread: 1 where they are spread evenly over the sphere, 0 where all are one.

    The standard deviation over the tiles of each feature of :math:`z / \|z\|`, averaged over the d features and times
    :math:`\sqrt{d}` (Chen and He, 2021, arXiv:2011.10566, section 4.1, where collapse is told by this figure).

    Parameters
    ----------
    embeddings
        At least two rows.

    Examples
    --------
    >>> round(float(spread(torch.ones(4, 3))), 4)
    0.0
    >>> round(float(spread(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))), 4)
    1.0
    """
    directions = functional.normalize(embeddings.detach().float(), dim=1)
    return directions.std(dim=0, correction=0).mean() * directions.shape[1] ** 0.5


class CollapseMonitor(nn.Module):
    """Counts the training steps in a row in which embeddings hardly spread, and stops at too many.

    What it counted is a buffer, so that a resumed training stops at the same step.

    Parameters
    ----------
    least_spread
        See :func:`spread`; below it a step counts. 0 never stops.
    patience
        Steps in a row.
    """

    steps_below: Tensor

    def __init__(self, *, least_spread: float, patience: int) -> None:
        super().__init__()
        self.least_spread = least_spread
        self.patience = patience
        self.register_buffer("steps_below", torch.zeros((), dtype=torch.long))

    def watch(self, embeddings: Float[Tensor, "tile feature"]) -> None:
        """Look at the embeddings of one training step.

        Raises
        ------
        EmbeddingsCollapsed
            If it was the last of too many steps in a row.
        """
        found = float(spread(embeddings))
        if found >= self.least_spread:
            self.steps_below.zero_()
            return
        self.steps_below += 1
        if int(self.steps_below) >= self.patience:
            raise EmbeddingsCollapsed(
                f"The embeddings collapsed: their spread fell to {found:.4f} (1 is even, 0 is a single point) and was "
                f"below {self.least_spread:g} for {self.patience} steps"
            )
