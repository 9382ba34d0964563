"""From scores to probabilities: temperature or Platt scaling of a task, fitted on held-out data."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_expit, logsumexp, softmax

from napari_mtlpath.evaluation.metrics import Answers
from napari_mtlpath.tasks import Classification

FEWEST_PATIENTS = 10
"""Patients of each class that a calibration needs; with fewer, two numbers fitted to them mean nothing."""

TEMPERATURES = (0.05, 50.0)
"""Where a temperature is looked for: perfectly separated classes would else make it 0."""


class Method(StrEnum):
    """How scores become probabilities."""

    PLATT = "platt"
    """Slope and intercept on a binary task's logit (Platt, 1999)."""
    TEMPERATURE = "temperature"
    """One divisor of all logits (Guo et al., 2017, arXiv:1706.04599)."""


class NotCalibrated(ValueError):
    """A task cannot be calibrated on these data; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was fitted: ``probability = sigmoid(slope * logit + intercept)``, or of ``logits / temperature``.

    Attributes
    ----------
    parameters
        ``{"temperature": t}``, or ``{"slope": a, "intercept": b}``: what a model's card stores and
        :func:`napari_mtlpath.inference.calibration.calibrated` reads.
    method
        Which of the two.
    """

    parameters: Mapping[str, float]
    method: Method

    def logits(self, raw: Float[NDArray[np.float64], "sample output"]) -> Float[NDArray[np.float64], "sample output"]:
        """Return calibrated logits."""
        return calibrated_logits(raw, self.parameters)


def calibrate(answers: Answers, *, method: Method | None = None) -> Calibration:
    """Fit a calibration by maximum likelihood.

    Parameters
    ----------
    answers
        Held-out answers to a classification task: seen by neither training nor the figures to come.
    method
        None takes Platt scaling for binary tasks, because distillation that lifts positives needs an intercept, and
        temperature scaling for tasks with several classes.

    Raises
    ------
    NotCalibrated
        If there are too few patients of a class, or higher scores do not mean the class.

    Examples
    --------
    >>> from napari_mtlpath.tasks import Classification
    >>> random = np.random.default_rng(0)
    >>> logits = random.normal(size=(4000, 1)) * 2
    >>> truth = (random.random(4000) < expit(0.5 * logits[:, 0] - 1)).astype(float)  # the truth behind the scores
    >>> answers = Answers(
    ...     task=Classification(name="tumour"), truth=truth, logits=logits, patients=tuple(map(str, range(4000))),
    ... )
    >>> {name: round(value, 1) for name, value in calibrate(answers).parameters.items()}
    {'slope': 0.5, 'intercept': -1.0}
    """
    task = answers.task
    if not isinstance(task, Classification):
        raise NotCalibrated(f"Task {task.name!r} is a regression: its answers are values, not probabilities.")
    _check_patients(task, answers)
    chosen = method or (Method.PLATT if task.is_binary else Method.TEMPERATURE)
    match chosen:
        case Method.PLATT:
            if not task.is_binary:
                raise NotCalibrated(f"Task {task.name!r} has {len(task.classes)} classes. Use temperature scaling.")
            return Calibration(parameters=_platt(task, answers), method=chosen)
        case Method.TEMPERATURE:
            return Calibration(parameters={"temperature": _temperature(task, answers)}, method=chosen)
        case _:
            assert_never(chosen)


def calibrated_logits(
    raw: Float[NDArray[np.float64], "sample output"], parameters: Mapping[str, Any] | None
) -> Float[NDArray[np.float64], "sample output"]:
    """Return logits after a card's calibration table; unchanged without one."""
    if not parameters:
        return raw
    if "temperature" in parameters:
        return raw / float(parameters["temperature"])
    return raw * float(parameters["slope"]) + float(parameters["intercept"])


def probabilities(logits: Float[NDArray[np.float64], "sample output"]) -> Float[NDArray[np.float64], "sample class"]:
    """Return the share of each class, two columns for a binary task."""
    if logits.shape[1] > 1:
        return softmax(logits, axis=1)
    positive = expit(logits[:, 0])
    return np.stack([1.0 - positive, positive], axis=1)


def _platt(task: Classification, answers: Answers) -> dict[str, float]:
    positives = float((answers.truth == 1).sum())
    negatives = len(answers.truth) - positives
    # Platt's targets: one more answer of each kind than was seen keeps separable data from an infinite slope.
    targets = np.where(answers.truth == 1, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
    logit = answers.logits[:, 0]
    centre, spread = float(logit.mean()), float(logit.std())
    if spread == 0.0:
        raise NotCalibrated(f"Task {task.name!r} gives every sample the same score; there is nothing to calibrate.")
    scaled = (logit - centre) / spread  # the optimum is the same, and no start is far from it

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = at[0] * scaled + at[1]
        value = -np.sum(targets * log_expit(margin) + (1.0 - targets) * log_expit(-margin))
        difference = expit(margin) - targets
        return float(value), np.array([difference @ scaled, difference.sum()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    slope = float(found[0] / spread)
    if slope <= 0.0:
        raise NotCalibrated(f"Higher scores of task {task.name!r} do not mean {task.classes[1]!r} on these data.")
    return {"slope": slope, "intercept": float(found[1] - slope * centre)}


def _temperature(task: Classification, answers: Answers) -> float:
    truth = answers.truth.astype(np.int64)
    logits = answers.logits if not task.is_binary else np.stack([0.0 * truth, answers.logits[:, 0]], axis=1)
    right = logits[np.arange(len(logits)), truth]

    def loss(log_temperature: float) -> float:
        warmth = np.exp(log_temperature)
        return float(np.mean(logsumexp(logits / warmth, axis=1) - right / warmth))

    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-8})
    if high - found.x < 1e-3:
        raise NotCalibrated(
            f"The scores of task {task.name!r} say nothing about these data; they cannot be calibrated."
        )
    return float(np.exp(found.x))


def _check_patients(task: Classification, answers: Answers) -> None:
    owners = np.array(answers.patients)
    for number, name in enumerate(task.classes):
        count = len(set(owners[answers.truth == number]))
        if count < FEWEST_PATIENTS:
            raise NotCalibrated(
                f"Task {task.name!r} has {count} patients of class {name!r}; calibration needs {FEWEST_PATIENTS} "
                "of each class."
            )
