"""Final figures on simulated smears: slide-level answers by witness rate, and where the model looked."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from napari_mtlpath.nn.outputs import BagOutput, TaskOutput
from napari_mtlpath.training.bags.bags import Answer, Bag, CardMetrics
from napari_mtlpath.training.evaluation import Estimate, auc, estimate, mean_error, r2

WITNESS_TASK = "basophils"
SHARE_TASKS = ("neutrophil_share", "vacuolated_share")
TASK_COLUMNS = (WITNESS_TASK, *SHARE_TASKS)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Judged:
    """What a model said about the test slides of one rate."""

    labels: Float[np.ndarray, "slide task"]
    answers: Float[np.ndarray, "slide task"]
    enrichment: dict[str, list[float]]


def smear_figures(
    answer: Answer, bags: Callable[[float], Iterable[Bag]], *, slides: int, rates: tuple[float, ...]
) -> CardMetrics:
    """Return the figures of one model.

    Per witness rate: the AUC of the witness task, and by how much witness cells are enriched among the tiles that the
    router selected and among those of highest attention (as many as the slide holds witnesses), on positive slides; 1
    is what blind choice gives. For the shares: the mean absolute error beside that of the slides' own mean, and R2.
    """
    metrics: CardMetrics = {}
    for rate in rates:
        judged = _judge(answer, bags(rate))
        name = f"{WITNESS_TASK} at {rate:.1%}"
        metrics[name] = estimate(auc, judged.labels[:, 0], judged.answers[:, 0]).row("auc", floor=0.5)
        for kind, values in judged.enrichment.items():
            metrics[name] |= _mean(values).row(f"{kind}_enrichment", floor=1.0)
    for column, task in enumerate(SHARE_TASKS, start=1):
        truth, said = judged.labels[:, column], judged.answers[:, column]
        trivial = mean_error(truth, np.full_like(truth, truth.mean()))
        metrics[task] = estimate(mean_error, truth, said).row("mean_absolute_error", floor=trivial)
        metrics[task] |= estimate(r2, truth, said).row("r2", floor=0.0)
    return metrics


def enrichment(chosen: Bool[Tensor, " tile"], witness: Bool[Tensor, " tile"]) -> float:
    """Return the share of witnesses among the chosen tiles over their share among all; 1 for a blind choice."""
    return float(witness[chosen].double().mean() / witness.double().mean())


def highest(values: Float[Tensor, " tile"], count: int) -> Bool[Tensor, " tile"]:
    """Return which tiles hold the `count` highest values."""
    chosen = torch.zeros(len(values), dtype=torch.bool)
    chosen[values.topk(count).indices] = True
    return chosen


def _judge(answer: Answer, bags: Iterable[Bag]) -> _Judged:
    labels, answers = [], []
    found: dict[str, list[float]] = {}
    for bag in bags:
        output = answer(bag)
        labels.append(bag.labels.double().numpy())
        answers.append([float(output.tasks[task].logits[0]) for task in TASK_COLUMNS])
        if bag.labels[0] > 0:
            for kind, value in _enrichments(output, bag.truth[WITNESS_TASK]):
                found.setdefault(kind, []).append(value)
    return _Judged(labels=np.array(labels), answers=np.array(answers), enrichment=found)


def _enrichments(output: BagOutput, witness: Bool[Tensor, " tile"]) -> Iterator[tuple[str, float]]:
    task: TaskOutput = output.tasks[WITNESS_TASK]
    count = int(witness.sum())
    if task.selected is not None:
        yield "top_p", enrichment(task.selected, witness)
    if task.routing is not None:
        yield "highest_routing", enrichment(highest(task.routing, count), witness)
    if task.attention is not None:
        yield "highest_attention", enrichment(highest(task.attention, count), witness)


def _mean(values: list[float]) -> Estimate:
    array = np.array(values)
    drawn = np.random.default_rng(0).integers(0, len(array), (1000, len(array)))
    low, high = np.percentile(array[drawn].mean(1), [2.5, 97.5])
    return Estimate(value=float(array.mean()), low=float(low), high=float(high))
