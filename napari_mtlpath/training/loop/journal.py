"""What happened since the last report and since the epoch began."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_mtlpath.training.loop.step_means import Means, conflicts
from napari_mtlpath.training.step.step_gradients import Outcome


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """What :class:`napari_mtlpath.training.loop.report.TrainingReport` says about the steps since the last one."""

    loss: float
    losses: Mapping[str, float]
    weights: Mapping[str, float]
    conflicts: Mapping[tuple[str, str], float]
    warnings: tuple[str, ...]


class Journal:
    """Keeps the outcomes of steps until they are reported, and the epoch's means until it ends."""

    def __init__(self) -> None:
        self._losses, self._conflicts = Means(), Means()
        self._weights: dict[str, float] = {}
        self._warnings: list[str] = []
        self._epoch = Means()
        self._skips: dict[str, int] = {}

    def note(self, outcome: Outcome) -> None:
        """Take note of one step."""
        if outcome.facts is None:
            self._skips[outcome.skipped] = self._skips.get(outcome.skipped, 0) + 1
            return
        self._losses.add(outcome.facts.losses)
        self._epoch.add(outcome.facts.losses)
        self._conflicts.add(conflicts(outcome.facts))
        self._weights = dict(outcome.facts.weights)

    def warn(self, *sentences: str) -> None:
        """Take note of what a person should know."""
        self._warnings += sentences

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Return the mean loss of each task over the epoch numbered `epoch` from 1, and begin another.

        Raises
        ------
        ValueError
            If every step of it was left out.
        """
        means, skips = self._epoch.values(), self._skips
        self._epoch, self._skips = Means(), {}
        if not means:
            raise ValueError(f"Nothing could be learned in epoch {epoch}: {' or '.join(skips)}. Check the labels.")
        self.warn(*(f"Epoch {epoch}: left out {count} steps because {reason}." for reason, count in skips.items()))
        return means

    def take(self) -> Excerpt:
        """Return what is new since this was last called."""
        losses, cosines, warnings = self._losses.values(), self._conflicts.values(), tuple(self._warnings)
        self._losses, self._conflicts, self._warnings = Means(), Means(), []
        return Excerpt(
            loss=sum(losses.values()) / len(losses) if losses else math.nan,
            losses=losses,
            weights=dict(self._weights),
            conflicts=cosines,
            warnings=warnings,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what a training resumed within an epoch needs."""
        return {"epoch": self._epoch.state_dict(), "skips": dict(self._skips)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._epoch.load_state_dict(state["epoch"])
        self._skips = dict(state["skips"])
