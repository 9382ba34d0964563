"""MECDS: task tokens, task-isolated attention, routed experts; new tasks without forgetting."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_mtlpath.nn.aggregator import Aggregator, check_tasks
from napari_mtlpath.nn.attention import attention_over_tiles
from napari_mtlpath.nn.branch import Adapted, TaskBranch
from napari_mtlpath.nn.heads import HeadOutput
from napari_mtlpath.nn.mecds_options import Extension, MecdsOptions
from napari_mtlpath.nn.options import check_count, plain_options, read_options
from napari_mtlpath.nn.outputs import BagOutput, TaskOutput
from napari_mtlpath.nn.routing import Routing
from napari_mtlpath.nn.seeding import initialised_by
from napari_mtlpath.nn.streams import Streams, TileStream, next_streams
from napari_mtlpath.nn.trunk import Mixed, TrunkBlock
from napari_mtlpath.tasks import Task


@dataclass
class _Step:
    """What one block did: streams as the trunk left them; by task, what its token and expert saw and gave."""

    streams: list[TileStream] = field(default_factory=list)
    before: dict[int, Tensor] = field(default_factory=dict)
    tiles: dict[int, Tensor] = field(default_factory=dict)
    logits: dict[int, Tensor] = field(default_factory=dict)
    adapted: dict[int, Adapted] = field(default_factory=dict)


class MECDS(Aggregator):
    r"""Multi-task aggregator whose tasks do not disturb each other (Jiang et al., 2025, MECDS, MICCAI).

    For tiles :math:`F \in R^{N \times C}` (a linear map of the bag) and one learned token :math:`T_m` per task, each of
    L blocks does, pre-norm and residual, for the tiles and for each token by itself,

    1. two task-isolated attention layers (tiles read tiles; token m reads itself and the tiles) and a feed-forward
       network: the trunk, shared by all tasks;
    2. routing: :math:`\phi_m = softmax_n(Router_m(F_n))`; the smallest set of largest weights with a sum above p is
       kept;
    3. the task's expert: :math:`[T'_m, F'_m] = Exp_m([T_m, F_m])` on the kept tiles, gathered, where the token's
       attention is multiplied by the routing weights (so that the router learns) and the tiles are written back.

    A head reads the last token. The last block writes no tiles, as nobody would read them.

    Isolation: tiles never read tokens, and everything a task does is computed by itself, so with one block, or with
    ``streams = "private"``, no task can change another. With shared streams and two or more blocks tasks meet in the
    tiles that their experts wrote, as published. A task added by :meth:`extended` with ``isolated`` reads the shared
    stream and writes to one of its own: the old outputs are the same bits, before and after it is trained.

    With ``routing = "off"``, the paper's ablation, steps 2 and 3 are left out and all tasks share one stream of tiles.

    Time per block is that of the tiles' mixing (N^2 for ``full``, N otherwise) plus, per task, a router and an expert
    on the kept tiles. Memory is linear in N; no mask over tiles exists.

    Examples
    --------
    >>> from napari_mtlpath.tasks import Classification
    >>> model = MECDS.build(tasks=[Classification(name="basophils")], features=8, options={"width": 12, "heads": 2})
    >>> output = model.eval()(torch.zeros(5, 8))
    >>> tuple(output.tasks["basophils"].logits.shape)
    (1,)
    """

    isolating: ClassVar = {"blocks": 1}
    represents = True

    def __init__(
        self,
        *,
        tasks: Sequence[Task],
        features: int,
        architecture: MecdsOptions,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_count("features", features)
        self.tasks = check_tasks(tasks)
        self.features = features
        self.architecture = architecture
        _check_extensions(self.tasks, architecture.extensions)
        with initialised_by(generator):
            self.projection = nn.Linear(features, architecture.width)
            self.blocks = nn.ModuleList(
                TrunkBlock(
                    architecture.width,
                    heads=architecture.heads,
                    hidden=architecture.feedforward * architecture.width,
                    dropout=architecture.dropout,
                    mixing=architecture.mixing,
                    landmarks=architecture.landmarks,
                )
                for _ in range(architecture.blocks)
            )
            self.branches = nn.ModuleList(self._new_branch(task) for task in self.tasks)
        self._only_last_learns = False
        if architecture.extensions:
            self._freeze_all_but_last()

    @classmethod
    def build(
        cls,
        *,
        tasks: Sequence[Task],
        features: int,
        options: Mapping[str, Any],
        generator: torch.Generator | None = None,
    ) -> "MECDS":
        """Build from a plain table of the options of :class:`MecdsOptions`.

        A model with extension tasks comes with everything but its last task frozen, as :meth:`extended` left it.
        """
        return cls(
            tasks=tasks, features=features, architecture=read_options(MecdsOptions, options), generator=generator
        )

    @property
    def options(self) -> dict[str, Any]:
        """The plain table from which :meth:`build` makes this architecture again, extension tasks included."""
        return plain_options(self.architecture)

    def forward(
        self,
        bag: Float[Tensor, "tile feature"],
        coordinates: Float[Tensor, "tile 2"] | None = None,
        *,
        explain: bool = False,
        block: int = -1,
    ) -> BagOutput:
        """Aggregate one bag.

        Parameters
        ----------
        bag
            Embeddings, [tile, feature], at least one tile.
        coordinates
            Not used: the model has no positions.
        explain
            Also give `attention` and `tile_logits`. `attention` is that of the second (last) attention layer of the
            trunk of `block`, over the tiles: the token's own term removed, each head renormalised, mean over heads.
            `tile_logits` answer, for each tile, "what would the last expert and the head say if this tile were all they
            were given?": the tile as it reached the last expert (so, unless `mixing` is ``none``, having read the other
            tiles) goes through the expert's reading and the head alone, without the token, a case that `token_dropout`
            trains. With ``token_dropout = 0``, where that case is never trained, the token is kept: it has seen the
            whole bag, so all tiles share the bag's level, and for a bag of one tile they equal its logits.
        block
            Whose `routing`, `selected` and `attention` to return, as a Python index; the last block by default.
        """
        self._check_bag(bag)
        shown = self._block_index(block)
        tokens: list[Tensor] = [branch.token for branch in self._branches()]
        streams = [TileStream(tiles=self.projection(bag), members=tuple(range(len(self.tasks))))]
        step = shown_step = self._step(0, streams, tokens)
        for index in range(1, len(self.blocks)):
            step = self._step(
                index, self._next_streams(step), [step.adapted[task].token for task in range(len(self.tasks))]
            )
            if index <= shown:
                shown_step = step
        return BagOutput(
            tasks={
                task.name: self._answer(index, shown_step, step, explain=explain)
                for index, task in enumerate(self.tasks)
            }
        )

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the token, routers, experts and head of one task."""
        return list(self._branches()[self._index_of(task)].parameters())

    def extended(
        self,
        task: Task,
        *,
        extension: str = Extension.ISOLATED,
        generator: torch.Generator | None = None,
    ) -> "MECDS":
        """Return a copy with one more task, in which only that task learns.

        The trunk and the old tasks are frozen: their parameters take no gradient, and they stay in evaluation mode even
        when ``train()`` is called on the whole model. This model is left as it was.

        Parameters
        ----------
        task
            The new task; its name must be new.
        extension
            ``"isolated"``: the old outputs stay identical bit by bit. ``"shared"``: as published.
        generator
            Makes the new weights reproducible.
        """
        if task.name in [known.name for known in self.tasks]:
            raise ValueError(f"This model already has a task {task.name!r}. Give the new task another name.")
        model = copy.deepcopy(self)
        model.zero_grad(set_to_none=True)
        model.architecture = replace(
            self.architecture, extensions={**self.architecture.extensions, task.name: str(extension)}
        )
        model.tasks = (*self.tasks, task)
        with initialised_by(generator):
            branch = model._new_branch(task)
        model.branches.append(branch.to(self.projection.weight))
        model._freeze_all_but_last()
        return model.train(self.training)

    def train(self, mode: bool = True) -> "MECDS":
        """Set the training mode; frozen parts stay in evaluation mode whatever `mode` is."""
        super().train(mode)
        if self._only_last_learns:
            for child in self.children():
                child.eval()
            self._branches()[-1].train(mode)
        return self

    def _new_branch(self, task: Task) -> TaskBranch:
        return TaskBranch(
            self.architecture.width,
            heads=self.architecture.heads,
            hidden=self.architecture.feedforward * self.architecture.width,
            dropout=self.architecture.dropout,
            blocks=self.architecture.blocks if self.architecture.routing is Routing.TOP_P else 0,
            outputs=task.outputs,
            mixing=self.architecture.expert_mixing,
            token_dropout=self.architecture.token_dropout,
        )

    def _freeze_all_but_last(self) -> None:
        self.requires_grad_(False)
        self._branches()[-1].requires_grad_(True)
        self._only_last_learns = True
        self.train(self.training)

    def _branches(self) -> list[TaskBranch]:
        return list(self.branches)  # type: ignore[arg-type]  # ModuleList forgets the type of its modules

    def _writers(self) -> tuple[int, ...]:
        def writes(task: Task) -> bool:
            if task.name in self.architecture.extensions:
                return self.architecture.extensions[task.name] == Extension.SHARED
            return self.architecture.streams is Streams.SHARED

        return tuple(index for index, task in enumerate(self.tasks) if writes(task))

    def _next_streams(self, step: _Step) -> list[TileStream]:
        if self.architecture.routing is Routing.OFF:  # Nobody writes: all tasks go on reading the trunk's tiles.
            return step.streams
        return next_streams(step.streams, step.adapted, writers=self._writers(), combine=self.architecture.combine)

    def _step(self, block: int, streams: Sequence[TileStream], tokens: Sequence[Tensor]) -> _Step:
        last = block == len(self.blocks) - 1
        step = _Step()
        for stream in streams:
            read = [tokens[task] for task in stream.members]
            mixed: Mixed = self._mixed(block, stream.tiles, read) if last else self.blocks[block](stream.tiles, read)
            step.streams.append(replace(stream, tiles=mixed.tiles))
            for task, token, logits in zip(stream.members, mixed.tokens, mixed.logits, strict=True):
                step.before[task] = token
                step.tiles[task] = mixed.tiles
                step.logits[task] = logits
                step.adapted[task] = self._branches()[task].adapt(
                    block,
                    token,
                    mixed.tiles,
                    p=self.architecture.p,
                    gradient=self.architecture.router_grad,
                    write=not last,
                )
        return step

    def _mixed(self, block: int, tiles: Tensor, tokens: Sequence[Tensor]) -> Mixed:
        """Run the last trunk block, which hands out the shared representation: what its tokens and experts read.

        Tokens that earlier blocks changed count too, as the trunk made them; learned tokens are the tasks' own.
        """
        entering = [self.represented(token) for token in tokens] if block > 0 else tokens
        return self.blocks[block](tiles, entering, represented=self.represented)

    def _answer(self, task: int, shown: _Step, last: _Step, *, explain: bool) -> TaskOutput:
        branch = self._branches()[task]
        said: HeadOutput = branch.head(last.adapted[task].token)
        return TaskOutput(
            logits=said.logits[0],
            embedding=said.embedding[0],
            routing=shown.adapted[task].phi,
            selected=shown.adapted[task].selected,
            attention=attention_over_tiles(shown.logits[task]) if explain else None,
            tile_logits=branch.tile_logits(last.before[task], last.tiles[task]) if explain else None,
        )

    def _block_index(self, block: int) -> int:
        count = len(self.blocks)
        if not -count <= block < count:
            raise ValueError(f"This model has {count} blocks, so block must lie in [{-count}, {count}); found {block}.")
        return block % count


def _check_extensions(tasks: tuple[Task, ...], extensions: Mapping[str, str]) -> None:
    last = [task.name for task in tasks][len(tasks) - len(extensions) :]
    if len(extensions) >= len(tasks) or last != list(extensions):
        raise ValueError(
            "Option 'extensions' must name the model's last tasks in order, after at least one first task; "
            f"found {list(extensions)} and tasks {[task.name for task in tasks]}."
        )
