"""CLAM with a single attention branch per task: gated attention pooling, tiles clustered by its extremes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from napari_mtlpath.nn.options import check_count, check_dropout, check_weight
from napari_mtlpath.nn.outputs import Auxiliary, Criterion, TaskOutput
from napari_mtlpath.nn.per_task import PerTaskAggregator
from napari_mtlpath.tasks import Classification, Task

INSTANCE_WEIGHT = 0.3 / 0.7  # Lu et al., 2021, Methods: 0.7 for the bag's loss, 0.3 for the instances'; ours is 1.
MARGIN = 1.0  # Alpha of the smooth SVM loss, and its temperature tau is 1 too (Berrada et al., 2018).


@dataclass(frozen=True, kw_only=True)
class ClamOptions:
    """The architecture of a :class:`ClamSB`.

    Attributes
    ----------
    width
        Features of a tile after the shared projection.
    attention_width
        Hidden features of each task's gate.
    dropout
        Share of projected values and of gate values dropped while training, in [0, 1).
    sampled
        B, the number of tiles of highest and of lowest attention that the instance loss takes; at most half a bag.
    instance_weight
        Weight of the instance loss beside the task's own loss, at least 0.
    exclusive_classes
        Whether tiles of highest attention also count against the other classes' clusters.
    """

    width: int = 512
    attention_width: int = 256
    dropout: float = 0.25
    sampled: int = 8
    instance_weight: float = INSTANCE_WEIGHT
    exclusive_classes: bool = True

    def __post_init__(self) -> None:
        for name in ("width", "attention_width", "sampled"):
            check_count(name, getattr(self, name))
        check_dropout("dropout", self.dropout)
        check_weight("instance_weight", self.instance_weight)


class ClamSB(PerTaskAggregator):
    r"""Clustering-constrained attention MIL, single branch (Lu et al., 2021, CLAM, arXiv:2004.09666).

    The bag's answer is that of gated attention pooling. While training, per classification task and class c an instance
    classifier :math:`s_n = W_c h_n \in R^2` clusters tiles: with the bag's class y, the B tiles of highest attention
    belong to the cluster of y and the B of lowest do not; where classes exclude each other the B highest do not belong
    to the other classes' clusters. The loss is the smooth SVM of two classes,
    :math:`\log(1 + \exp(1 + s_{other} - s_{true}))` (Berrada et al., 2018, arXiv:1802.07595, k = 1, tau = 1), mean per
    classifier, summed over classifiers; it is the task's `auxiliary` loss. A regression has no classes and so none.

    The library torchmil has CLAM-SB for one binary task; see docs/add-an-aggregator.md for why this is our own.

    Examples
    --------
    >>> from napari_mtlpath.tasks import Classification
    >>> model = ClamSB.build(tasks=[Classification(name="witness")], features=8, options={"width": 16})
    >>> model.train()(torch.zeros(5, 8)).tasks["witness"].auxiliary is None
    False
    """

    own_modules = "branches"
    options_kind = ClamOptions
    architecture: ClamOptions

    def _assemble(self) -> None:
        width, dropout = self.architecture.width, self.architecture.dropout
        self.projection = nn.Sequential(nn.Linear(self.features, width), nn.ReLU(), nn.Dropout(dropout))
        self.branches = nn.ModuleList(ClamBranch(self.architecture, task) for task in self.tasks)

    def _tiles(self, bag: Float[Tensor, "tile feature"]) -> Float[Tensor, "tile width"]:
        return self.projection(bag)


class ClamBranch(nn.Module):
    """One task's gate, head and, for a classification, one instance classifier per class."""

    def __init__(self, architecture: ClamOptions, task: Task) -> None:
        super().__init__()
        self.architecture = architecture
        width, hidden = architecture.width, architecture.attention_width
        self.content = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Dropout(architecture.dropout))
        self.gate = nn.Sequential(nn.Linear(width, hidden), nn.Sigmoid(), nn.Dropout(architecture.dropout))
        self.score = nn.Linear(hidden, 1)
        self.head = nn.Linear(width, task.outputs)
        classes = len(task.classes) if isinstance(task, Classification) else 0
        self.instances = nn.ModuleList(nn.Linear(width, 2) for _ in range(classes))

    def forward(self, tiles: Float[Tensor, "tile feature"], explain: bool) -> TaskOutput:
        """Pool the projected tiles and answer."""
        scores = self.score(self.content(tiles) * self.gate(tiles)).squeeze(1)
        attention = torch.softmax(scores, dim=0)
        embedding = attention @ tiles
        return TaskOutput(
            logits=self.head(embedding),
            embedding=embedding,
            attention=attention if explain else None,
            tile_logits=self.head(tiles) if explain else None,
            auxiliary=self._auxiliary(tiles, scores) if self.training and len(self.instances) else None,
        )

    def _auxiliary(self, tiles: Float[Tensor, "tile feature"], scores: Float[Tensor, " tile"]) -> Auxiliary:
        sampled = min(self.architecture.sampled, len(tiles) // 2)
        order = torch.argsort(scores, descending=True, stable=True)
        highest, lowest = tiles[order[:sampled]], tiles[order[len(order) - sampled :]]

        def instance_loss(label: Float[Tensor, ""], criterion: Criterion) -> Float[Tensor, ""]:
            if sampled == 0:  # A bag of one tile has no two extremes.
                return scores.new_zeros(())
            return self.architecture.instance_weight * self._clustering(highest, lowest, int(label))

        return instance_loss

    def _clustering(
        self, highest: Float[Tensor, "sampled feature"], lowest: Float[Tensor, "sampled feature"], true_class: int
    ) -> Float[Tensor, ""]:
        inside = torch.ones(len(highest), dtype=torch.long, device=highest.device)
        total = smooth_svm(
            self.instances[true_class](torch.cat([highest, lowest])), torch.cat([inside, torch.zeros_like(inside)])
        )
        if self.architecture.exclusive_classes:
            for number, classifier in enumerate(self.instances):
                if number != true_class:
                    total = total + smooth_svm(classifier(highest), torch.zeros_like(inside))
        return total


def smooth_svm(scores: Float[Tensor, "row 2"], truth: Int[Tensor, " row"]) -> Float[Tensor, ""]:
    """Return the mean smooth SVM loss of two classes, ``log(1 + exp(1 + s_other - s_true))``.

    Examples
    --------
    >>> round(float(smooth_svm(torch.tensor([[0.0, 1.0]]), torch.tensor([1]))), 4)
    0.6931
    """
    true = scores.gather(1, truth[:, None]).squeeze(1)
    other = scores.gather(1, 1 - truth[:, None]).squeeze(1)
    return functional.softplus(MARGIN + other - true).mean()
