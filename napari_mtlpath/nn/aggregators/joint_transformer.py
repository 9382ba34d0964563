"""The joint transformer: an encoder over the tiles, a decoder with one query token per task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_mtlpath.nn.attention import Mixing, attention_over_tiles
from napari_mtlpath.nn.configured import ConfiguredAggregator
from napari_mtlpath.nn.expert import pieces
from napari_mtlpath.nn.multihead import Memory
from napari_mtlpath.nn.options import check_count, check_dropout, check_heads
from napari_mtlpath.nn.outputs import BagOutput, TaskOutput
from napari_mtlpath.nn.post_norm import DecoderLayer, EncoderLayer


@dataclass(frozen=True, kw_only=True)
class JointTransformerOptions:
    """The architecture of a :class:`JointTransformer`; the defaults are the published ones.

    Attributes
    ----------
    width, heads
        Features per tile after the projection, and attention heads (dividing `width`).
    encoder_layers, decoder_layers
        How often tiles read tiles, and tokens read tiles.
    feedforward
        Width of the feed-forward networks as a multiple of `width`.
    dropout
        Share of update and hidden values dropped while training, in [0, 1).
    mixing, landmarks
        How tiles exchange information in the encoder, and the number of landmarks where the mixing has them.
    isolate_queries
        Decode each task's token by itself, so that no task can change another; as published tokens read each other.
    """

    width: int = 384
    heads: int = 6
    encoder_layers: int = 2
    decoder_layers: int = 2
    feedforward: int = 2
    dropout: float = 0.1
    mixing: Mixing = Mixing.FULL
    landmarks: int = 64
    isolate_queries: bool = False

    def __post_init__(self) -> None:
        for name in ("width", "heads", "encoder_layers", "decoder_layers", "feedforward", "landmarks"):
            check_count(name, getattr(self, name))
        check_dropout("dropout", self.dropout)
        check_heads(self.width, self.heads)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Decoded:
    """Tokens after the decoder, and their last attention over the tiles before its softmax."""

    tokens: Float[Tensor, "query feature"]
    logits: Float[Tensor, "head query tile"] | None


class JointTransformer(ConfiguredAggregator):
    r"""Joint multi-task transformer (El Nahhas et al., 2024, MICCAI, section 3.2, figure 1).

    Tiles are projected, :math:`h_n = ReLU(W x_n)`, and read each other in the encoder. One learned token per task
    ([cls] for a classification and [rgr] for a regression in the paper; here any number of both) goes through the
    decoder: the tokens read each other, then the tiles. A linear head per task reads its token. All layers have their
    norm after the residual sum, and ReLU. There are no positions: the order of tiles changes nothing.

    Tokens read each other, so a task moves the others' answers, and adding one moves the old ones. With
    `isolate_queries` each token is decoded by itself with the same weights: no task can change another, bit by bit.

    Two things differ from the published code: attention weights are never dropped (the [tile, tile] matrix would come
    back), and a binary task has one logit.

    Time of the encoder is N^2 with ``mixing = "full"``, right up to about 10,000 tiles (at 50,000 tiles one layer takes
    half a minute per core); ``"landmark"`` and ``"none"`` take time N and are for more. Memory is linear in N.

    `attention` is that of the last decoder layer over the tiles, mean over heads. `tile_logits` answer "what would the
    decoder say if this tile, as the encoder left it, were all it was given?".

    Examples
    --------
    >>> from napari_mtlpath.tasks import Classification, Regression
    >>> pair = [Classification(name="msi"), Regression(name="stroma")]
    >>> model = JointTransformer.build(tasks=pair, features=8, options={"width": 12, "heads": 2})
    >>> tuple(model.eval()(torch.zeros(5, 8)).tasks["stroma"].embedding.shape)
    (12,)
    """

    represents = True
    options_kind = JointTransformerOptions
    isolating: ClassVar = {"isolate_queries": True}
    architecture: JointTransformerOptions

    def _assemble(self) -> None:
        chosen = self.architecture
        sizes: dict[str, Any] = {
            "heads": chosen.heads,
            "hidden": chosen.feedforward * chosen.width,
            "dropout": chosen.dropout,
        }
        self.projection = nn.Sequential(nn.Linear(self.features, chosen.width), nn.ReLU())
        self.encoder = nn.Sequential(
            *(
                EncoderLayer(chosen.width, **sizes, mixing=chosen.mixing, landmarks=chosen.landmarks)
                for _ in range(chosen.encoder_layers)
            )
        )
        self.decoder = nn.ModuleList(DecoderLayer(chosen.width, **sizes) for _ in range(chosen.decoder_layers))
        # Uniform from 0 to 1, as in the published code.
        self.tokens = nn.ParameterList(nn.Parameter(torch.rand(1, chosen.width)) for _ in self.tasks)
        self.heads = nn.ModuleList(nn.Linear(chosen.width, task.outputs) for task in self.tasks)

    def forward(
        self,
        bag: Float[Tensor, "tile feature"],
        coordinates: Float[Tensor, "tile 2"] | None = None,
        *,
        explain: bool = False,
    ) -> BagOutput:
        """Aggregate one bag of at least one tile; `coordinates` are not used."""
        self._check_bag(bag)
        tiles = self.represented(self.encoder(self.projection(bag)[None]))
        memories = [layer.cross.remember(tiles) for layer in self._layers()]
        answers: dict[str, TaskOutput] = {}
        for group in self._groups():
            tokens = torch.cat([self.tokens[task] for task in group])
            decoded = self._decoded(tokens, memories, explain=explain)
            each = self._decoded_each(tokens, tiles[0]) if explain else None
            for place, task in enumerate(group):
                head = self.heads[task]
                logits = decoded.logits
                answers[self.tasks[task].name] = TaskOutput(
                    logits=head(decoded.tokens[place]),
                    embedding=decoded.tokens[place],
                    attention=None if logits is None else attention_over_tiles(logits[:, place]),
                    tile_logits=None if each is None else head(each[:, place]),
                )
        return BagOutput(tasks=answers)

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the token and head of one task."""
        index = self._index_of(task)
        return [self.tokens[index], *self.heads[index].parameters()]

    def _groups(self) -> list[tuple[int, ...]]:
        """Return which tokens are decoded together."""
        every = tuple(range(len(self.tasks)))
        # One pass per token, not one masked pass: a product over all tokens at once may round differently.
        return [(task,) for task in every] if self.architecture.isolate_queries else [every]

    def _layers(self) -> list[DecoderLayer]:
        return list(self.decoder)  # type: ignore[arg-type]  # ModuleList forgets the type of its modules

    def _decoded(
        self, tokens: Float[Tensor, "query feature"], memories: Sequence[Memory], *, explain: bool
    ) -> _Decoded:
        queries, logits = tokens[None], None
        for layer, memory in zip(self._layers(), memories, strict=True):
            settled = layer.settle(queries)
            logits = layer.cross.logits(settled, memory)[0] if explain else None
            queries = layer.finish(settled, layer.cross(settled, memory))
        return _Decoded(tokens=queries[0], logits=logits)

    def _decoded_each(
        self, tokens: Float[Tensor, "query feature"], tiles: Float[Tensor, "tile feature"]
    ) -> Float[Tensor, "tile query feature"]:
        """Return the tokens decoded against each tile alone."""
        answered = []
        for piece in pieces(tiles):
            queries = tokens[None]
            for layer in self._layers():
                settled = layer.settle(queries).expand(piece.shape[0], -1, -1)
                queries = layer.finish(settled, layer.cross.read_one(piece)[:, None])
            answered.append(queries)
        return torch.cat(answered)
