"""How the weights of an epoch are judged: each task's figure on bags that no step sees."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.training.bags.bags import Answer, Bag, BagSource
from napari_mtlpath.training.evaluation import auc, macro_f1, r2
from napari_mtlpath.training.loop.job import Validation


def judge(source: BagSource, bags: Sequence[Bag], answer: Answer) -> Validation:
    """Return the score and each task's figure on bags; a task without two different labels there has none.

    AUC for binary tasks, macro-F1 for several classes, R2 for regressions; the score is their mean. Bags are read one
    after the other.
    """
    known, given = [], []
    for bag in bags:
        output = answer(bag)
        known.append(bag.labels)
        given.append({task.name: output.tasks[task.name].logits.double().cpu().numpy() for task in source.tasks})
    labels = torch.stack(known).double().numpy()
    metrics, scores = {}, {}
    for column, task in enumerate(source.tasks):
        labelled = ~np.isnan(labels[:, column])
        truth = labels[labelled, column]
        if len(np.unique(truth)) < 2:
            continue
        logits = np.stack([each[task.name] for each in given])[labelled]
        match task:
            case Regression():
                name, value = "r2", r2(truth, logits[:, 0])
            case Classification() if task.is_binary:
                name, value = "auc", auc(truth, logits[:, 0])
            case Classification():
                name, value = "macro_f1", macro_f1(truth, logits.argmax(1).astype(np.float64))
        metrics[f"{task.name} {name}"] = scores[task.name] = value
    score = float(np.mean(list(scores.values()))) if scores else math.nan
    return Validation(score=score, metrics=metrics, scores=scores)
