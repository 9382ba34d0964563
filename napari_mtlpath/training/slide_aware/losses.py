"""The two objectives of slide-aware pre-training: similarity of negative tiles, contrast of positive ones."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def similarity(
    first: Float[Tensor, "tile feature"], second: Float[Tensor, "tile feature"], *, temperature: float = 0.07
) -> Float[Tensor, ""]:
    r"""Return how far all views of tiles of slide-negative slides are from being one point.

    :math:`\frac{1}{N(N-1)} \sum_{i \neq j} (1 - \cos(z_i, z_j)) / \tau` over the N views of all tiles: the numerators
    of a supervised contrastive loss for which all these tiles are one class (SLAM-AGS, 2025, arXiv:2511.14639; the
    family of objectives: WeakSupCon, 2025, arXiv:2503.04165). At least 0, and 0 exactly where all views point the same
    way, which is why it is never used alone.

    Parameters
    ----------
    first, second
        Two views of each tile, not normalised; at least one tile.
    temperature
        What cosines are divided by, above 0.

    Examples
    --------
    >>> round(float(similarity(torch.ones(2, 3), torch.ones(2, 3))), 4)
    0.0
    """
    views = _directions(first, second)
    count = len(views)
    # The sum of all cosines is the squared length of the sum: no [view, view] matrix is needed.
    mean_cosine = (views.sum(0).square().sum() - count) / (count * (count - 1))
    return ((1 - mean_cosine) / temperature).clamp(min=0.0)


def nt_xent(
    first: Float[Tensor, "tile feature"], second: Float[Tensor, "tile feature"], *, temperature: float = 0.07
) -> Float[Tensor, ""]:
    r"""Return the normalised, temperature-scaled cross-entropy of finding a view's partner among all other views.

    :math:`-\frac{1}{2n} \sum_i \log \frac{\exp(\cos(z_i, z_{p(i)}) / \tau)}{\sum_{k \neq i} \exp(\cos(z_i, z_k) /
    \tau)}`, with p(i) the other view of the same tile (SimCLR, Chen et al., 2020, arXiv:2002.05709, eq. 1).

    Parameters
    ----------
    first, second
        Two views of each tile, not normalised; at least two tiles, or there is nothing to be told apart.
    temperature
        What cosines are divided by, above 0.

    Raises
    ------
    ValueError
        If there are fewer than two tiles.

    Examples
    --------
    >>> views = torch.eye(2)
    >>> round(float(nt_xent(views, views, temperature=1.0)), 4)
    0.5514
    """
    if len(first) < 2:
        raise ValueError(f"Expected at least two tiles to tell apart; found {len(first)}. Raise optimisation.batch.")
    return functional.cross_entropy(*_pairing(first, second, temperature))


def told_apart(first: Float[Tensor, "tile feature"], second: Float[Tensor, "tile feature"]) -> float:
    """Return the share of views whose nearest other view is of the same tile; chance is 1 / (2 tiles - 1)."""
    scores, partners = _pairing(first, second, temperature=1.0)
    return float((scores.argmax(1) == partners).double().mean())


def _pairing(first: Tensor, second: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the scaled cosines [view, view], a view with itself left out, and each view's partner [view]."""
    views = _directions(first, second)
    tiles = len(first)
    own = torch.eye(len(views), dtype=torch.bool, device=views.device)
    scores = (views @ views.T / temperature).masked_fill(own, -torch.inf)
    partners = torch.arange(len(views), device=views.device).roll(tiles)
    return scores, partners


def _directions(first: Tensor, second: Tensor) -> Tensor:
    """Return all views as vectors of length 1, in at least single precision."""
    views = torch.cat([first, second])
    return functional.normalize(views if views.dtype == torch.float64 else views.float(), dim=1)
