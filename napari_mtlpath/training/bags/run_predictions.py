"""What a finished model says about the parts of its data that it did not learn from, in the form that judging reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from napari_mtlpath.evaluation.floors import MAJORITY, TrainingFacts, floors
from napari_mtlpath.evaluation.intervals import Repeat, Resampler, judged
from napari_mtlpath.evaluation.judge import answers_of, floor_answers
from napari_mtlpath.evaluation.metrics import metrics_for
from napari_mtlpath.evaluation.predictions import Predictions
from napari_mtlpath.tasks import Task
from napari_mtlpath.training.bags.bags import Answer, Bag, BagSource, CardMetrics
from napari_mtlpath.training.evaluation import Estimate

SELECTION = "selection"
"""The part that the best epoch is chosen by: its figures are no judgement."""

CARD_FIGURES = frozenset({"auroc", "auprc", "balanced_accuracy", "mean_absolute_error", "pearson", "r2"})
"""Those of a card; ``mtlpath evaluate`` gives all."""

DRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class RunName:
    """Which run it is: repeats (seeds, folds) of one run share its name.

    Attributes
    ----------
    run
        Name of what was trained.
    fold
        Which fold is tested, from 0; 0 without folds.
    """

    run: str
    fold: int = 0


def predict_parts(source: BagSource, answer: Answer, *, name: RunName, seed: int, model: str) -> list[Predictions]:
    """Return the answers to every part that a source names, beside the majority's and a linear probe's."""
    return [
        _predict(source, part, bags, answer, name=name, seed=seed, model=model)
        for part, bags in source.parts_to_predict().items()
        if len(bags)
    ]


def card_figures(predictions: Sequence[Predictions]) -> CardMetrics:
    """Return the figures of a card: each with its interval over patients, beside the majority's.

    Those of the test part stand under the task's name, those of other parts under the task and the part. A figure that
    the labels do not define (one class alone) is left out.
    """
    metrics: CardMetrics = {}
    for part in predictions:
        if part.part == SELECTION:
            continue
        resampler = Resampler(part.patients, draws=DRAWS, seed=0)
        for task in part.tasks:
            if part.known(task.name).any():
                group = task.name if part.part == "test" else f"{task.name}, {part.part}"
                metrics[group] = _rows(part, task, resampler)
    return metrics


def _rows(part: Predictions, task: Task, resampler: Resampler) -> dict[str, float | str]:
    rows: dict[str, float | str] = {}
    answers, trivial = answers_of(part, task.name), floor_answers(part, task)[MAJORITY]
    for metric in metrics_for(task).metrics:
        if metric.name not in CARD_FIGURES:
            continue
        found, floor = judged(metric, [Repeat(answers=answers)], resampler), metric.value(trivial)
        if found.known:
            beside = floor if np.isfinite(floor) else None
            rows |= Estimate(value=found.value, low=found.low, high=found.high).row(metric.name, floor=beside)
    return rows


def _predict(
    source: BagSource, part: str, bags: Sequence[Bag], answer: Answer, *, name: RunName, seed: int, model: str
) -> Predictions:
    samples, patients, labels, means = [], [], [], []
    logits: dict[str, list[np.ndarray]] = {task.name: [] for task in source.tasks}
    embeddings: dict[str, list[np.ndarray]] = {task.name: [] for task in source.tasks}
    for bag in bags:
        output = answer(bag)
        samples.append(bag.name)
        patients.append(bag.patient)
        labels.append(bag.labels.double().numpy())
        means.append(bag.features.double().mean(0).numpy())
        for task, said in output.tasks.items():
            logits[task].append(said.logits.double().cpu().numpy())
            embeddings[task].append(said.embedding.double().cpu().numpy())
    return Predictions(
        samples=tuple(samples),
        patients=tuple(patients),
        tasks=source.tasks,
        labels=np.stack(labels),
        logits={task: np.stack(rows) for task, rows in logits.items()},
        embeddings={task: np.stack(rows) for task, rows in embeddings.items()},
        floors=_floors(source, np.stack(means)),
        part=part,
        run=name.run,
        seed=seed,
        fold=name.fold,
        model=model,
        facts=dict(source.facts),
    )


def _floors(source: BagSource, means: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    if source.training_labels is None:
        return {}
    learned: torch.Tensor | None = source.training_means
    training = TrainingFacts(
        labels=source.training_labels.double().numpy(),
        features=None if learned is None else learned.double().numpy(),
    )
    answers = floors(source.tasks, training, samples=len(means), features=None if learned is None else means)
    return {name: dict(outputs) for name, outputs in answers.items()}
