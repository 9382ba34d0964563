"""Scores that mean probabilities, where a model's card says how: temperature or Platt scaling per task."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def calibrated(logits: NDArray[np.float64], parameters: Mapping[str, Any] | None) -> NDArray[np.float64]:
    """Return the logits after a task's calibration; without one, unchanged.

    Parameters
    ----------
    logits
        The head's outputs, [output].
    parameters
        The card's table: ``temperature`` (logits / temperature; Guo et al., 2017, arXiv:1706.04599), or ``slope`` and
        ``intercept`` (slope * logit + intercept; Platt, 1999). Other keys (data, error) are information.

    Raises
    ------
    ValueError
        If the table holds neither, or a value that is not a finite number, or a temperature that is not positive.
    """
    if not parameters:
        return logits
    if "temperature" in parameters:
        temperature = _number(parameters, "temperature")
        if temperature <= 0:
            raise ValueError(f"A calibration temperature must be positive; found {temperature}. Check model.toml.")
        return logits / temperature
    if "slope" in parameters and "intercept" in parameters:
        return logits * _number(parameters, "slope") + _number(parameters, "intercept")
    raise ValueError(
        f"A calibration needs 'temperature', or 'slope' and 'intercept'; found {sorted(parameters)}. Check model.toml."
    )


def _number(parameters: Mapping[str, Any], name: str) -> float:
    value = parameters[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"Calibration value {name!r} must be a finite number; found {value!r}. Check model.toml.")
    return float(value)
