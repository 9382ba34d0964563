"""What a finished model says about the parts of its data that it did not learn from, in the form that judging reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from napari_mtlpath.evaluation.floors import TrainingFacts, floors
from napari_mtlpath.evaluation.predictions import Predictions
from napari_mtlpath.training.bags import Answer, Bag, BagSource


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


def _predict(
    source: BagSource, part: str, bags: Sequence[Bag], answer: Answer, *, name: RunName, seed: int, model: str
) -> Predictions:
    samples, patients, labels, means = [], [], [], []
    logits: dict[str, list[np.ndarray]] = {task.name: [] for task in source.tasks}
    embeddings: dict[str, list[np.ndarray]] = {task.name: [] for task in source.tasks}
    for bag in bags:
        output = answer(bag.features, bag.coordinates)
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
