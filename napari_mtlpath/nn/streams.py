"""Tile streams: which tasks' experts change the tiles that which tasks read in the next block."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from napari_mtlpath.nn.branch import Adapted


class Combine(StrEnum):
    """How experts write the tiles they chose.

    Attributes
    ----------
    RESIDUAL
        ``F' = F + sum_m mask_m (Exp_m(F_m) - F)``: tiles that nobody chose stay as they are.
    SUM
        ``F' = sum_m scatter(Exp_m(F_m))``, as printed: tiles that nobody chose become 0, tiles of k tasks k-fold.
    """

    RESIDUAL = "residual"
    SUM = "sum"


class Streams(StrEnum):
    """Who reads what the experts of the first tasks write (extension tasks choose for themselves).

    Attributes
    ----------
    SHARED
        All first tasks write to and read from one stream, as published. With two or more blocks a task's router and
        expert change what the others read.
    PRIVATE
        Every task writes to a stream of its own: no task can change another at any depth. Each task pays for the trunk
        from the second block on.
    """

    SHARED = "shared"
    PRIVATE = "private"


@dataclass(frozen=True, kw_only=True, eq=False)
class TileStream:
    """One version of the bag's tiles, and the tasks (by index) that read it."""

    tiles: Float[Tensor, "tile feature"]
    members: tuple[int, ...]


def next_streams(
    streams: Sequence[TileStream], adapted: Mapping[int, Adapted], *, writers: tuple[int, ...], combine: Combine
) -> list[TileStream]:
    """Return the streams of the next block from what the experts wrote.

    Every task of `writers` writes to the one shared stream. Every other task reads, in a stream of its own, its tiles
    plus what the writers wrote plus what it wrote itself; nobody else reads that. So the shared stream never depends on
    a task outside `writers`, and no private stream on another.

    Parameters
    ----------
    streams
        The streams of this block, tiles as the trunk left them. The writers are members of the first.
    adapted
        What each task's expert did, by task index.
    writers
        The tasks of the shared stream, in the order of the model.
    combine
        How experts write.
    """
    base = streams[0].tiles
    shared = _kept(base, combine)
    for task in writers:
        shared = _add(shared, adapted[task], base, combine)
    following = [TileStream(tiles=shared, members=writers)] if writers else []
    gained = shared - _kept(base, combine)
    for stream in streams:
        for task in stream.members:
            if task not in writers:
                own = _kept(stream.tiles, combine) + gained
                own = _add(own, adapted[task], stream.tiles, combine)
                following.append(TileStream(tiles=own, members=(task,)))
    return following


def _kept(tiles: Float[Tensor, "tile feature"], combine: Combine) -> Float[Tensor, "tile feature"]:
    match combine:
        case Combine.RESIDUAL:
            return tiles
        case Combine.SUM:
            return torch.zeros_like(tiles)
        case _:
            assert_never(combine)


def _add(
    target: Float[Tensor, "tile feature"],
    adapted: Adapted,
    source: Float[Tensor, "tile feature"],
    combine: Combine,
) -> Float[Tensor, "tile feature"]:
    if adapted.selected is None or adapted.written is None:
        raise ValueError("The experts of this block were not asked to write their tiles.")
    chosen = adapted.selected.nonzero().squeeze(1)
    change = adapted.written - source[chosen] if combine is Combine.RESIDUAL else adapted.written
    return target.index_add(0, chosen, change)
