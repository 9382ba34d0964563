"""What a pre-trained encoder is worth for bags: an aggregator on its embeddings, judged on slides of unseen cells."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor
from torch.nn import functional

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.evaluation.retrieval import Retrieval, retrieve
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.nn.outputs import auxiliary_losses
from napari_mtlpath.simulation.cells import CellSet
from napari_mtlpath.simulation.smear import TURNS
from napari_mtlpath.tasks import Classification
from napari_mtlpath.training.config.slide_aware import CellSlides
from napari_mtlpath.training.end_to_end.cell_pool import CellPool
from napari_mtlpath.training.losses.supervised import task_loss
from napari_mtlpath.training.slide_aware.cell_slides import CellSlide, slides_of
from napari_mtlpath.training.smears.smear_bags import cell_parts
from napari_mtlpath.zoo.aggregators import AGGREGATORS

LOOKED_AT = (10, 50)
"""Values of K."""

TASK = Classification(name="basophils")
EPOCHS = 24
EASIEST = 0.1
BAGS_PER_STEP = 4
PIECE = 64


@dataclass(frozen=True, kw_only=True)
class BagPlan:
    """How bags are made: `slides` fresh ones in every epoch, and as many to judge."""

    rate: float
    seed: int
    slides: int
    cells: int
    aggregator: str


@dataclass(frozen=True, kw_only=True)
class BagFigures:
    """Figures on slides of unseen cells; retrievals of the positive ones by what ranked the tiles."""

    f1: float
    auc: float
    retrievals: dict[str, list[Retrieval]] = field(default_factory=dict)


def judge(encoder: Encoder, cells: CellSet, plan: BagPlan) -> BagFigures:
    """Train the aggregator on embeddings of one part of the cells, and judge it on another."""
    features = _embedded(encoder, cells)
    makers = {name: _Slides(cells, chosen, features, plan) for name, chosen in cell_parts(cells).items()}
    model = _learned(makers, plan)
    mean, spread = makers["train"].statistics()
    with torch.inference_mode():
        test = makers["test"].bags(plan.slides, seed=0)
        answers = [model((bag - mean) / spread, explain=True).tasks[TASK.name] for bag, _ in test]
    truth = np.array([slide.abnormal.any() for _, slide in test])
    logits = np.array([float(answer.logits) for answer in answers])
    usual = _usual([bag for bag, slide in makers["train"].bags(plan.slides, seed=1) if not slide.abnormal.any()])
    found: dict[str, list[Retrieval]] = {"attention": [], "distance": []}
    for (bag, slide), answer in zip(test, answers, strict=True):
        if slide.abnormal.any() and answer.attention is not None:
            distance = 1 - functional.normalize(bag, dim=1) @ usual
            for k in LOOKED_AT:
                found["attention"].append(retrieve(answer.attention.double().numpy(), slide.abnormal, k=k))
                found["distance"].append(retrieve(distance.double().numpy(), slide.abnormal, k=k))
    f1 = f1_score(truth, logits > 0, zero_division=0)
    return BagFigures(f1=float(f1), auc=float(roc_auc_score(truth, logits)), retrievals=found)


class _Slides:
    """Composes slides of one part of the cells in feature space; another seed gives other slides."""

    def __init__(self, cells: CellSet, chosen: NDArray[np.bool_], features: Tensor, plan: BagPlan) -> None:
        is_witness = cells.is_class("cell_type", "Basophil")
        self.witnesses, self.others = np.flatnonzero(chosen & is_witness), np.flatnonzero(chosen & ~is_witness)
        self.features, self.plan = features, plan

    def bags(self, count: int, *, seed: int, rate: float = 0.0) -> list[tuple[Tensor, CellSlide]]:
        """Return slides, every other one positive at the plan's rate or another, with their embeddings."""
        table = CellSlides(source="cells", witness_rate=rate or self.plan.rate, cells_per_slide=self.plan.cells)
        random = np.random.default_rng([self.plan.seed, seed])
        slides = slides_of(self.witnesses, self.others, table, slides=count, random=random)
        return [(self.features[torch.from_numpy(slide.rows // TURNS)], slide) for slide in slides]

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the features."""
        own = self.features[torch.from_numpy(np.concatenate([self.witnesses, self.others]))]
        return own.mean(0), own.std(0).clamp(min=1e-6)


def _usual(negative: list[Tensor]) -> Tensor:
    """Return the mean direction of the tiles of slide-negative slides."""
    return functional.normalize(functional.normalize(torch.cat(negative), dim=1).mean(0), dim=0)


@torch.inference_mode()
def _embedded(encoder: Encoder, cells: CellSet) -> Tensor:
    """Return the embedding of every cell, as a slide shows it unturned, [cell, feature]."""
    pool = CellPool(cells, chosen=np.arange(len(cells)))
    return torch.cat([encoder.embed(pool.read(rows)) for rows in torch.split(TURNS * torch.arange(len(cells)), PIECE)])


def _learned(makers: dict[str, _Slides], plan: BagPlan) -> Aggregator:
    """Return the aggregator after its last epoch; each epoch shows fresh slides.

    The rate begins at `EASIEST` and falls to the plan's over the first half: with a few cells of each slide from the
    start no row learned anything.
    """
    generator = torch.Generator().manual_seed(plan.seed)
    mean, spread = makers["train"].statistics()
    options = {"width": 64, "attention_width": 32, "dropout": 0.0}
    model = AGGREGATORS.load(plan.aggregator).build(
        tasks=[TASK], features=len(mean), options=options, generator=generator
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    model.train()
    for epoch in range(EPOCHS):
        left = max(0.0, 1 - 2 * epoch / EPOCHS)
        rate = plan.rate * max(1.0, EASIEST / plan.rate) ** left
        fresh = makers["train"].bags(plan.slides, seed=2 + epoch, rate=rate)
        for step in torch.split(torch.randperm(len(fresh), generator=generator), BAGS_PER_STEP):
            optimizer.zero_grad()
            _loss(model, [fresh[i] for i in step.tolist()], mean, spread).backward()
            optimizer.step()
    return model.eval()


def _loss(model: Aggregator, slides: list[tuple[Tensor, CellSlide]], mean: Tensor, spread: Tensor) -> Tensor:
    def criterion(logits: Tensor, label: Tensor) -> Tensor:
        return task_loss(TASK, logits[None], label[None])

    labels = torch.tensor([float(slide.abnormal.any()) for _, slide in slides])
    outputs = [model((bag - mean) / spread) for bag, _ in slides]
    own = [criterion(o.tasks[TASK.name].logits, label) for o, label in zip(outputs, labels, strict=True)]
    more = auxiliary_losses(outputs, labels[:, None], {TASK.name: criterion})
    return torch.stack(own).mean() + sum(more.values())
