"""A tile encoder with one head per task, as it is while being trained."""

from collections.abc import Iterable, Sequence

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from napari_mtlpath.nn.representation import Representation
from napari_mtlpath.tasks import AnyTask, whole_tasks


class MultiHead(nn.Module):
    """Encoder network -> batch norm -> one linear head per task.

    Parameters
    ----------
    network
        Takes uint8 tiles, returns [tile, feature].
    features
        Length of the embedding.
    tasks
        What the heads answer.
    dropout
        On the normalised embedding, while training.
    """

    represents = True
    representation: Representation | None = None

    def __init__(self, network: nn.Module, *, features: int, tasks: Sequence[AnyTask], dropout: float = 0.0) -> None:
        super().__init__()
        self.tasks = whole_tasks(tasks)
        self.network = network
        self.norm = nn.BatchNorm1d(features)
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({task.name: nn.Linear(features, task.outputs) for task in self.tasks})

    def forward(
        self, tiles: UInt8[Tensor, "tile y x 3"], wanted: Iterable[str] | None = None
    ) -> dict[str, Float[Tensor, "tile output"]]:
        """Return the logits of the `wanted` tasks (all by default); other heads take no part in the graph."""
        return self.answer(self.network(tiles), wanted)

    def answer(
        self, features: Float[Tensor, "tile feature"], wanted: Iterable[str] | None = None
    ) -> dict[str, Float[Tensor, "tile output"]]:
        """Return the logits of the `wanted` tasks for embeddings."""
        features = self.dropout(self.norm(features))
        if self.representation is not None:
            features = self.representation.cut(features)
        return {name: self.heads[name](features) for name in (self.heads if wanted is None else wanted)}

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the parameters of one task's head."""
        return list(self.heads[task].parameters())

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the network and of the norm behind it."""
        return [*self.network.parameters(), *self.norm.parameters()]
