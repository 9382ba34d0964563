"""Means over steps of what each of them saw."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from napari_mtlpath.training.step.update import StepFacts


class Means:
    """Running means by name; a name counts only the values that it was given.

    Examples
    --------
    >>> means = Means()
    >>> means.add({"a": 1.0, "b": 2.0})
    >>> means.add({"a": 3.0})
    >>> means.values()
    {'a': 2.0, 'b': 2.0}
    """

    def __init__(self) -> None:
        self._sums: dict[Any, float] = defaultdict(float)
        self._counts: dict[Any, int] = defaultdict(int)

    def add(self, values: Mapping[Any, float]) -> None:
        """Take note of one step's values."""
        for name, value in values.items():
            self._sums[name] += value
            self._counts[name] += 1

    def values(self) -> dict[Any, float]:
        """Return the mean of each name."""
        return {name: total / self._counts[name] for name, total in self._sums.items()}

    def state_dict(self) -> dict[str, dict[Any, Any]]:
        """Return what a resumed training needs."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Mapping[Any, Any]]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._sums.update(state["sums"])
        self._counts.update(state["counts"])


def conflicts(facts: StepFacts) -> dict[tuple[str, str], float]:
    """Return the cosine of each pair of tasks; {} where a step did not measure them."""
    if facts.cosines is None:
        return {}
    tasks = facts.tasks
    return {
        (tasks[first], tasks[second]): float(facts.cosines[first, second])
        for first in range(len(tasks))
        for second in range(first + 1, len(tasks))
    }
