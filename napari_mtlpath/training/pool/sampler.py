"""Task first, then image: every task is seen equally often, however few images it has."""

from collections.abc import Sequence

import torch
from jaxtyping import Float64, Int64
from torch import Tensor


class TaskSampler:
    """Draws samples with replacement: a task uniformly, then one of its images uniformly.

    An image of task t is drawn with probability :math:`1 / (T n_t)` (Mormont et al., 2021, section IV-B).

    Parameters
    ----------
    sizes
        Training images of each task, n_t.

    Examples
    --------
    >>> [(len(each), float(each[0])) for each in TaskSampler([2, 8]).weights()]
    [(2, 0.25), (8, 0.0625)]
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        if not sizes or min(sizes) < 1:
            raise ValueError(f"Every task needs at least one training image; found {list(sizes)}.")
        self.sizes = torch.tensor(sizes)

    def weights(self) -> list[Float64[Tensor, " image"]]:
        """Return by task the probability with which each of its images is drawn."""
        count = len(self.sizes)
        return [torch.full((size,), 1 / (count * size), dtype=torch.float64) for size in self.sizes.tolist()]

    def draw(self, count: int, generator: torch.Generator) -> tuple[Int64[Tensor, " sample"], Int64[Tensor, " sample"]]:
        """Return the task of each of `count` samples, and which of that task's images it is."""
        tasks = torch.randint(len(self.sizes), (count,), generator=generator)
        # In float64: a float32 draw cannot reach every image of a set of more than 2^24.
        places = torch.rand(count, generator=generator, dtype=torch.float64) * self.sizes[tasks]
        return tasks, places.long().minimum(self.sizes[tasks] - 1)
