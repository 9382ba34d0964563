"""The architecture of a MECDS model as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from napari_mtlpath.nn.attention import Mixing
from napari_mtlpath.nn.expert import ExpertMixing
from napari_mtlpath.nn.options import check_count, check_dropout, check_heads, nearest
from napari_mtlpath.nn.routing import RouterGradient, Routing
from napari_mtlpath.nn.streams import Combine, Streams


class Extension(StrEnum):
    """Where a task that was added later writes its tiles.

    Attributes
    ----------
    ISOLATED
        To a stream of its own: the old tasks' outputs stay identical bit by bit.
    SHARED
        To the shared stream, as published: with two or more blocks the old outputs move a little.
    """

    ISOLATED = "isolated"
    SHARED = "shared"


@dataclass(frozen=True, kw_only=True)
class MecdsOptions:
    """The architecture of a MECDS model.

    Attributes
    ----------
    width, heads, blocks
        C, attention heads (dividing `width`) and L.
    feedforward
        Width of the feed-forward networks as a multiple of `width`.
    dropout
        Share of update values dropped while training, in [0, 1).
    routing
        Whether tasks route tiles to experts; ``off`` leaves routers and experts out, and what follows about them has no
        effect.
    p
        Threshold of the top-p rule, in [0, 1).
    mixing, landmarks
        How tiles exchange information, and the number of landmarks where the mixing has them.
    expert_mixing
        What an expert's token and chosen tiles exchange. ``mlp`` (default) leaves the choice of tiles to the router
        alone, is linear in the chosen tiles (an untrained router chooses N/2), and keeps tiles from reading tokens.
    token_dropout
        How often, in [0, 1), an expert must answer from the chosen tiles alone while training, so that the router has
        to choose well: the trunk's attention, through which a token reads all tiles, is a way around it.
    router_grad
        How the router learns.
    combine
        How experts write their tiles.
    streams
        Whether the first tasks share one tile stream.
    extensions
        Tasks added later, in order, by name, each ``isolated`` or ``shared``. They are the last of the model's tasks.
    """

    width: int = 384
    heads: int = 6
    blocks: int = 2
    feedforward: int = 4
    dropout: float = 0.1
    routing: Routing = Routing.TOP_P
    p: float = 0.5
    mixing: Mixing = Mixing.FULL
    landmarks: int = 64
    expert_mixing: ExpertMixing = ExpertMixing.MLP
    token_dropout: float = 0.5
    router_grad: RouterGradient = RouterGradient.WEIGHTED
    combine: Combine = Combine.RESIDUAL
    streams: Streams = Streams.SHARED
    extensions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("width", "heads", "blocks", "feedforward", "landmarks"):
            check_count(name, getattr(self, name))
        check_dropout("dropout", self.dropout)
        check_dropout("token_dropout", self.token_dropout)
        if not 0.0 <= self.p < 1.0:
            raise ValueError(f"Option 'p' must lie in [0, 1); found {self.p!r}.")
        check_heads(self.width, self.heads)
        for task, extension in self.extensions.items():
            if extension not in list(Extension):
                hint = nearest(str(extension), list(Extension))
                raise ValueError(f"Extension task {task!r} must be isolated or shared; found {extension!r}.{hint}")
