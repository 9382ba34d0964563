"""Dynamic feature routing: which tiles a task's expert reads, and how the router learns from it."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from enum import StrEnum
from typing import TypeAlias, assert_never

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

Chooser: TypeAlias = Callable[[Float[Tensor, " tile"], float], Bool[Tensor, " tile"]]
"""Says which tiles are kept: (routing weights, p) -> choice."""

_CHOOSER: ContextVar[Chooser | None] = ContextVar("chooser", default=None)


class Routing(StrEnum):
    """Which tiles a task's expert reads.

    Attributes
    ----------
    TOP_P
        The smallest set of the router's largest weights whose sum exceeds p.
    OFF
        None: there are no routers and no experts, and a task's token is what the trunk made of it. The ablation of the
        paper's table 2, first row.
    """

    TOP_P = "top_p"
    OFF = "off"


class RouterGradient(StrEnum):
    """How a task's loss reaches its router through the hard choice of tiles.

    Attributes
    ----------
    WEIGHTED
        The expert's token reads tile n with weight ``phi_n / sum(phi over the selected) * k``: mean weight 1.
    STRAIGHT_THROUGH
        All weights are exactly 1 forward; backward they are ``d log phi_n``.
    NONE
        As printed: the choice passes no gradient, so routers keep their random start.
    """

    WEIGHTED = "weighted"
    STRAIGHT_THROUGH = "st"
    NONE = "none"


@contextlib.contextmanager
def choosing(chooser: Chooser) -> Iterator[None]:
    """Let `chooser` answer for :func:`top_p` meanwhile: where a network is recorded, the choice is given from outside.

    The rule needs 64-bit sums, which not every runtime of recorded networks has.
    """
    before = _CHOOSER.set(chooser)
    try:
        yield
    finally:
        _CHOOSER.reset(before)


class Router(nn.Module):
    """One task's importance of every tile: ``phi = softmax over tiles of MLP(LayerNorm(F))``.

    The softmax runs over the tiles of the bag, so `phi` sums to 1 per task and its top-p rule has a meaning
    (Jiang et al., 2025, MECDS, section 2.2). The MLP is C -> C/4 -> GELU -> 1.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(1, width // 4)
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def forward(self, tiles: Float[Tensor, "tile feature"]) -> Float[Tensor, " tile"]:
        """Return log phi, shape [tile]."""
        return torch.log_softmax(self.layers(tiles).squeeze(1), dim=0)


def top_p(phi: Float[Tensor, " tile"], p: float) -> Bool[Tensor, " tile"]:
    """Return the smallest set of largest values whose sum exceeds `p`, at least one tile.

    Ties keep the earlier tile. Sums are float64: a float32 sum keeps 501 of 1000 equal values where 500 suffice.

    Parameters
    ----------
    phi
        Routing weights, >= 0, summing to 1.
    p
        Threshold in [0, 1); the sum of the chosen weights is strictly larger.

    Examples
    --------
    >>> top_p(torch.tensor([0.1, 0.6, 0.3]), 0.5).tolist()
    [False, True, False]
    """
    chooser = _CHOOSER.get()
    if chooser is not None:
        return chooser(phi.detach(), p)
    exact = phi.detach()
    if exact.device.type == "mps":  # Metal has no float64.
        exact = exact.cpu()
    ranked, order = torch.sort(exact.double(), descending=True, stable=True)
    before = torch.cat([ranked.new_zeros(1), torch.cumsum(ranked, dim=0)[:-1]])
    keep = before <= p
    selected = torch.zeros_like(keep)
    selected[order] = keep
    return selected.to(phi.device)


def read_weights(
    log_phi: Float[Tensor, " tile"], chosen: Int[Tensor, " chosen"], gradient: RouterGradient
) -> Float[Tensor, " chosen"]:
    """Return the logarithm of the weights with which an expert's token reads its chosen tiles.

    Logarithms, because the weights multiply the attention's exponentials: ``a_n ~ w_n exp(q k_n)`` stays normalised,
    whereas scaling the features themselves would be undone by the expert's layer norm and no gradient would be left.
    """
    picked = log_phi[chosen]
    match gradient:
        case RouterGradient.WEIGHTED:
            return torch.log_softmax(picked, dim=0) + torch.log(torch.ones_like(picked).sum())
        case RouterGradient.STRAIGHT_THROUGH:
            return picked - picked.detach()
        case RouterGradient.NONE:
            return torch.zeros_like(picked)
        case _:
            assert_never(gradient)
