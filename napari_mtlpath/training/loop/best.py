"""The best epoch so far and its weights."""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from napari_mtlpath.training.loop.averaging import clone_state


class Best:
    """Keeps the weights of the epoch with the highest score; while no epoch could be judged, those of the last one.

    Attributes
    ----------
    epoch
        Counted from 1; 0 before the first.
    score
        Its score; minus infinity while none could be judged.
    metrics
        Its validation metrics.
    """

    def __init__(self, module: nn.Module) -> None:
        self.epoch = 0
        self.score = -math.inf
        self.metrics: dict[str, float] = {}
        self.weights = clone_state(module)

    def improves(self, score: float) -> bool:
        """Return whether an epoch of this score is to be kept."""
        return score > self.score if math.isfinite(score) else self.score == -math.inf

    def take(self, epoch: int, score: float) -> None:
        """Make `epoch` the best."""
        self.epoch = epoch
        self.score = score if math.isfinite(score) else self.score

    def keep(self, module: nn.Module, metrics: Mapping[str, float]) -> None:
        """Keep the module's present weights."""
        self.weights, self.metrics = clone_state(module), dict(metrics)

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed training needs."""
        return {"epoch": self.epoch, "score": self.score, "metrics": self.metrics, "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.epoch, self.score = state["epoch"], state["score"]
        self.metrics, self.weights = state["metrics"], state["weights"]
