"""Attention masks per task at every level of a network, each applied to the features of that task or of another."""

import itertools
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_mtlpath.nn.pixels.layers import convolution, reduced, size_of


class TaskMasks(nn.Module):
    r"""One task's masks: :math:`F^j = Emb([U^j; \hat A^{j-1}])`, :math:`A^j = \sigma(Att(F^j))` at each level.

    At the first level there is no :math:`\hat A`: the published zeros add nothing to a convolution, so that the
    embedding reads :math:`U^1` alone. Emb is 1x1 - BN - ReLU, Att is 1x1 - BN - ReLU - 1x1 - BN - sigmoid, as in MTAN.

    Parameters
    ----------
    found, kept
        Channels of each level at the backbone, and behind it.
    """

    def __init__(self, found: Sequence[int], kept: Sequence[int]) -> None:
        super().__init__()
        inputs = [u + (a if level else 0) for level, (u, a) in enumerate(zip(found, kept, strict=True))]
        self.embeddings = nn.ModuleList(convolution(i, c, kernel=1) for i, c in zip(inputs, kept, strict=True))
        self.masks = nn.ModuleList(_mask(c) for c in kept)

    def forward(
        self, level: int, features: Float[Tensor, "tile _u y x"], before: Float[Tensor, "tile channel y x"] | None
    ) -> Float[Tensor, "tile channel y x"]:
        """Return the mask at one level, 0 to 1, from its features and what came from the level before."""
        seen = features if before is None else torch.cat([features, before], dim=1)
        return self.masks[level](self.embeddings[level](seen))


class MaskedLevels(nn.Module):
    r"""Masked features of every task at every level: :math:`\hat A_t^j = Pool(A_{s}^j \odot P^j)`.

    The mask is that of the other task, s = t' (CTAN; Kim et al., 2023, eq. 1), or the task's own, s = t (MTAN; Liu et
    al., 2019, arXiv:1803.10704). With more than two tasks the other's mask becomes the mean of all others'. Pool is a
    3x3 convolution block, shared by the tasks, with max-pooling where the next level is coarser.

    Parameters
    ----------
    tasks
        Names.
    found, kept
        Channels of each level at the backbone, and behind it.
    crossed
        Whether a task is masked by the others.
    """

    def __init__(self, tasks: Sequence[str], *, found: Sequence[int], kept: Sequence[int], crossed: bool) -> None:
        super().__init__()
        self.crossed = crossed
        self.tasks = nn.ModuleDict({task: TaskMasks(found, kept) for task in tasks})
        self.pools = nn.ModuleList(convolution(old, new) for old, new in itertools.pairwise(kept))

    def forward(
        self, maps: Sequence[Float[Tensor, "tile _ _ _"]], shared: Sequence[Float[Tensor, "tile _ _ _"]]
    ) -> tuple[dict[str, list[Tensor]], dict[str, Tensor]]:
        """Return each task's masked features of all levels, and its own finest mask."""
        masked: dict[str, list[Tensor]] = {task: [] for task in self.tasks}
        before: dict[str, Tensor] = {}
        finest: dict[str, Tensor] = {}
        for level, (features, block) in enumerate(zip(maps, shared, strict=True)):
            masks = {task: each(level, features, before.get(task)) for task, each in self.tasks.items()}
            finest = finest or masks
            for task in self.tasks:
                gate = mean_of_others(masks, task) if self.crossed else masks[task]
                masked[task].append(gate * block)
                if level < len(self.pools):
                    before[task] = reduced(self.pools[level](masked[task][-1]), size_of(maps[level + 1]))
        return masked, finest


def mean_of_others(values: Mapping[str, Tensor], task: str) -> Tensor:
    """Return the mean of all values but the task's: with two tasks the other's value, bit by bit.

    Examples
    --------
    >>> mean_of_others({"a": torch.tensor(1.0), "b": torch.tensor(2.0), "c": torch.tensor(4.0)}, "a")
    tensor(3.)
    """
    others = [value for name, value in values.items() if name != task]
    return others[0] if len(others) == 1 else torch.stack(others).mean(0)


def _mask(channels: int) -> nn.Sequential:
    return nn.Sequential(
        convolution(channels, channels, kernel=1),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.Sigmoid(),
    )
