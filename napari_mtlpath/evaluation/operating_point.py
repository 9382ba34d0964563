"""The logit from which on a binary task is called positive, chosen on data that no figure is taken from."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

import numpy as np

from napari_mtlpath.evaluation.metrics import Answers
from napari_mtlpath.evaluation.ranking import TOLERANCE, ranks


class Rule(StrEnum):
    """How an operating point is chosen."""

    YOUDEN = "youden"
    """Where sensitivity + specificity - 1 is highest (Youden, 1950)."""
    SPECIFICITY = "specificity"
    """Where sensitivity is highest among the points of at least a wanted specificity."""


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A threshold and where it came from.

    Attributes
    ----------
    logit
        A sample is called positive from this raw logit on.
    rule
        How it was chosen, in words.
    sensitivity, specificity
        What it reached on the data that it was chosen on: optimistic.
    patients
        Number of patients of those data.
    """

    logit: float
    rule: str
    sensitivity: float
    specificity: float
    patients: int

    def as_table(self) -> dict[str, Any]:
        """Return the plain values that a card stores."""
        return {
            "logit": self.logit,
            "rule": self.rule,
            "sensitivity": self.sensitivity,
            "specificity": self.specificity,
            "patients": float(self.patients),
        }


def choose_operating_point(answers: Answers, *, rule: Rule, specificity: float = 0.9) -> OperatingPoint | None:
    """Return the operating point of a binary task; None where a class is missing.

    The threshold lies in the middle between the lowest score that is called positive and the next one below it. Of
    several equally good ones the highest is taken.

    Examples
    --------
    >>> from napari_mtlpath.tasks import Classification
    >>> answers = Answers(
    ...     task=Classification(name="tumour"), truth=np.array([0.0, 0.0, 1.0, 1.0]),
    ...     logits=np.array([[-2.0], [0.0], [1.0], [3.0]]), patients=("a", "b", "c", "d"),
    ... )
    >>> choose_operating_point(answers, rule=Rule.YOUDEN).logit
    0.5
    """
    positive = answers.truth == 1
    if positive.all() or not positive.any():
        return None
    ranked = ranks(positive, answers.logits[:, 0], np.ones((1, len(positive))))
    found = np.cumsum(ranked.positives[0]) / positive.sum()
    spared = 1.0 - np.cumsum(ranked.negatives[0]) / (~positive).sum()
    match rule:
        case Rule.YOUDEN:
            best = int(np.argmax(np.round(found + spared, 12)))
            words = "highest sensitivity + specificity"
        case Rule.SPECIFICITY:
            allowed = spared >= specificity - TOLERANCE
            best = int(np.argmax(np.where(allowed, found, -1.0)))
            words = f"highest sensitivity at specificity {specificity:g} or more"
            if not allowed.any():  # even the highest score alone calls too many negatives positive
                return _point(float(ranked.thresholds[0]) + 1.0, words, 0.0, 1.0, answers)
        case _:
            assert_never(rule)
    here = ranked.thresholds[best]
    below = ranked.thresholds[best + 1] if best + 1 < len(ranked.thresholds) else here - 1.0
    return _point(float((here + below) / 2.0), words, float(found[best]), float(spared[best]), answers)


def _point(logit: float, words: str, sensitivity: float, specificity: float, answers: Answers) -> OperatingPoint:
    return OperatingPoint(
        logit=logit,
        rule=words,
        sensitivity=sensitivity,
        specificity=specificity,
        patients=len(set(answers.patients)),
    )
