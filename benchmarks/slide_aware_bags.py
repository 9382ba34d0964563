"""What a pre-trained encoder is worth for bags: an aggregator on its embeddings, judged on slides of unseen cells."""

from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor
from torch.nn import functional

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.evaluation.retrieval import Retrieval, retrieve
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.nn.outputs import auxiliary_losses
from napari_mtlpath.simulation.cells import CellSet
from napari_mtlpath.tasks import Classification
from napari_mtlpath.training.config.slide_aware import CellSlides
from napari_mtlpath.training.end_to_end.cell_pool import CellPool
from napari_mtlpath.training.losses.supervised import task_loss
from napari_mtlpath.training.slide_aware.cell_slides import CellSlide, slides_of
from napari_mtlpath.training.smears.smear_bags import cell_parts
from napari_mtlpath.zoo.load import AGGREGATORS

LOOKED_AT = (10, 50)
"""Values of K."""

TASK = Classification(name="basophils")
EPOCHS = 20
BAGS_PER_STEP = 4
PIECE = 64


@dataclass(frozen=True, kw_only=True)
class BagPlan:
    """How bags are made, learned from and judged; a quarter as many slides choose the epoch, as many are judged."""

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
    pool = CellPool(cells, chosen=np.arange(len(cells)))
    is_witness = cells.is_class("cell_type", "Basophil")
    counts = {"train": plan.slides, "selection": max(4, plan.slides // 4), "test": plan.slides}
    table = CellSlides(source="cells", witness_rate=plan.rate, cells_per_slide=plan.cells)
    slides = {
        name: list(
            slides_of(
                np.flatnonzero(chosen & is_witness),
                np.flatnonzero(chosen & ~is_witness),
                table,
                slides=counts[name],
                random=np.random.default_rng([plan.seed, 7, number]),
            )
        )
        for number, (name, chosen) in enumerate(cell_parts(cells).items())
    }
    bags = {name: _bags(encoder, pool, made) for name, made in slides.items()}
    mean, spread = torch.cat(bags["train"]).mean(0), torch.cat(bags["train"]).std(0).clamp(min=1e-6)
    scaled = {name: [(bag - mean) / spread for bag in each] for name, each in bags.items()}
    labels = {name: torch.tensor([float(s.abnormal.any()) for s in made]) for name, made in slides.items()}
    model = _learned(scaled, labels, plan)
    with torch.inference_mode():
        answers = [model(bag, explain=True).tasks[TASK.name] for bag in scaled["test"]]
    truth = labels["test"].numpy()
    logits = np.array([float(answer.logits) for answer in answers])
    usual = _usual([bag for bag, label in zip(bags["train"], labels["train"], strict=True) if not label])
    found: dict[str, list[Retrieval]] = {"attention": [], "distance": []}
    for bag, answer, slide in zip(bags["test"], answers, slides["test"], strict=True):
        if slide.abnormal.any() and answer.attention is not None:
            distance = 1 - functional.normalize(bag, dim=1) @ usual
            for k in LOOKED_AT:
                found["attention"].append(retrieve(answer.attention.double().numpy(), slide.abnormal, k=k))
                found["distance"].append(retrieve(distance.double().numpy(), slide.abnormal, k=k))
    f1 = f1_score(truth, logits > 0, zero_division=0)
    return BagFigures(f1=float(f1), auc=float(roc_auc_score(truth, logits)), retrievals=found)


def _usual(negative: list[Tensor]) -> Tensor:
    """Return the mean direction of the tiles of slide-negative slides."""
    return functional.normalize(functional.normalize(torch.cat(negative), dim=1).mean(0), dim=0)


@torch.inference_mode()
def _bags(encoder: Encoder, pool: CellPool, slides: list[CellSlide]) -> list[Tensor]:
    """Return the embeddings of slides; a cell that lies alike on several is embedded once."""
    rows = np.unique(np.concatenate([slide.rows for slide in slides]))
    parts = [encoder.embed(pool.read(part)) for part in torch.split(torch.from_numpy(rows), PIECE)]
    features = torch.cat(parts)
    return [features[torch.from_numpy(np.searchsorted(rows, slide.rows))] for slide in slides]


def _learned(bags: dict[str, list[Tensor]], labels: dict[str, Tensor], plan: BagPlan) -> Aggregator:
    """Return the aggregator at the epoch of the least loss on the selection slides."""
    generator = torch.Generator().manual_seed(plan.seed)
    options = {"width": 64, "attention_width": 32, "dropout": 0.0}
    model = AGGREGATORS.load(plan.aggregator).build(
        tasks=[TASK], features=bags["train"][0].shape[1], options=options, generator=generator
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-3)
    best, kept = float("inf"), {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(EPOCHS):
        model.train()
        for step in torch.split(torch.randperm(len(bags["train"]), generator=generator), BAGS_PER_STEP):
            optimizer.zero_grad()
            _loss(model, [bags["train"][i] for i in step.tolist()], labels["train"][step]).backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            loss = float(_loss(model, bags["selection"], labels["selection"]))
        if loss < best:
            best, kept = loss, {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(kept)
    return model.eval()


def _loss(model: Aggregator, bags: list[Tensor], labels: Tensor) -> Tensor:
    def criterion(logits: Tensor, label: Tensor) -> Tensor:
        return task_loss(TASK, logits[None], label[None])

    outputs = [model(bag) for bag in bags]
    own = [criterion(o.tasks[TASK.name].logits, label) for o, label in zip(outputs, labels, strict=True)]
    more = auxiliary_losses(outputs, labels[:, None], {TASK.name: criterion})
    return torch.stack(own).mean() + sum(more.values())
